"""People who talk: chats that stream, clients that follow them, and the journal of what was asked and told.

`wording` says what a message is and what its whole answer must be; `screen` is what one person sees (pure);
`follower` keeps a screen up to date over connections that break; `conversation` is one person; `crowd` all of them;
`journal` lies outside the system under test, so that it can be judged by it.
"""

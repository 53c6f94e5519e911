"""What is the matter with a chat, in words: `manage.py explain_chat`.

    situation.py  what is known of a chat at one moment (pure)   reading.py  that, read from the database
    meaning.py    what each state means (pure)                   turn.py     who acts next (pure)
    story.py      all of it as labelled sentences (pure)

Only reads. The sentences are made of values alone, so that a table of tests can ask for every one of them.
"""

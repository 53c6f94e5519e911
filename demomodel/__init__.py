"""The demo model: a small HTTP server that speaks the OpenAI chat-completions protocol.

Needs no key and no network. Its answers follow from the request alone, so the same request is answered the
same way every time; only ids and times differ.

    python -m demomodel --port 8901

Directives
----------
A prompt scripts its own answer with directives in square brackets, in lower case. Several may be combined;
text around them is ordinary text. Brackets that are no directive stay prose. A directive that cannot be
understood is answered with a sentence that says so. Directives in `backticks`, in code fences and between
<tags></tags> are quotations, not directives.

What is said
    [say TEXT]                  answers exactly TEXT (which may contain balanced brackets)
    [long N]                    answers with N numbered words: word1 word2 … wordN
    [think TEXT]                reasons TEXT first (sent as reasoning_content)
    [chunks N]                  sends the text in N chunks instead of word by word
    [call NAME {"key": 1}]      calls the tool NAME; may occur several times for parallel calls
    [call broken NAME]          calls NAME with arguments that are not valid JSON
    [call doubled NAME {…}]     calls NAME twice with the same call id
    [then]                      what follows is for the next request of the same turn, when the tools have
                                answered: [call a {}] [then] [call b {}] [then] [say done]
                                Without it the model answers with the results in words.

When it is said
    [at once]                   without any delay
    [interval S]                S seconds between chunks (default: --interval); lasts for the rest of the turn
    [first token after S]       headers at once, the first chunk after S seconds

What goes wrong (N chunks may be 0; reasoning, text and argument fragments all count)
    [stall after N]             N chunks, then silence on an open connection until the client leaves
    [cut after N]               N chunks, then the TCP connection closes; no [DONE]
    [error after N]             N chunks, then an error event in the stream, as OpenRouter sends it
    [fail STATUS]               an HTTP error, 400 to 599, instead of an answer; with any of
                                  retry-after S    the Retry-After header
                                  times N          only the first N times this request is made
                                  code WORD        the error's code: [fail 400 code context_length_exceeded]

Without a directive it greets or restates the question, word by word. `max_tokens` and `max_completion_tokens`
are obeyed (a token is a word), with finish_reason "length".

What this package does not know: Django, Chatd's own code, pydantic-ai. The way of a request: request and
conversation read it, scanning and directives find out what the prompt wants, answer decides a script, wire
turns it into bytes (all of these are pure); delivery sends them, app routes, __main__ is the process.
"""

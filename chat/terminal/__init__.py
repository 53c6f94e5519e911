"""`manage.py chat`: a chat at the terminal.

    sending.py   who says what to which chat          follow.py    the chat's stream, and Ctrl-C
    narrator.py  stream events → what to print (pure)  printer.py   on a terminal, or into a pipe
    output.py    the ways to tell it: as it comes, as JSON, only the end

Goes through the same door and the same hub as the web process; knows no worker.
"""

"""Big databases that are made up: for trying out, for measuring, for looking at the admin with a million chats.

    texts.py      what people ask and models answer (pure)   wish.py       how much, how old, from which seed
    lives.py      the life of each chat (pure)               lines.py      chats as lines of COPY (pure)
    database.py   into Postgres, with COPY

The same seed makes the same chats, counted back from the moment it is asked. Everything goes in as one transaction,
past the door and its triggers, in the form in which the door would have left it: versions, well-formed histories,
families that are archived as one. Whoever is interrupted leaves nothing. Not for a database that people use: tables may
be locked, and a large part of them is written.
"""

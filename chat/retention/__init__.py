"""How long chats are kept: archive what nobody touches any more, delete what has been archived for long.

    policy.py    how many days, and from which moment on (pure, but for reading it)
    archive.py   families without activity are archived       digest.py   and their owners told, by one mail each
    purge.py     archived families are deleted for good       batches.py  piece by piece, so that live chats never wait

The cut-off is midnight UTC minus N days. So all chats of one day become due together, once a day, and nothing trickles.
`updated_at` decides, which a trigger of the database keeps: whatever archives a chat, plain SQL included, it has its
full retention from that moment on. A family goes or stays as one; a pinned chat is exempt, and its family with it.

Runs of one duty exclude each other by an advisory lock, over all processes (`chat/task_runs.py`); whoever comes second
does nothing. A run does a bounded amount of work, and the next one is planned from its end, so that a slow database
never turns it into a constant loop. Every batch is a transaction of its own: a run that is killed has done some whole
batches, and the next one goes on. What the doors are: `chat/bulk.py`.
"""

PER_RUN = 1000
"""Families that a run of beat archives, chats that it deletes, at most; one family may be bigger. The next goes on."""

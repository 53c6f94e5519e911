"""What is wrong with an installation, in words: `manage.py chat_doctor`.

    finding.py        what a check says                 examination.py  the checks in order, each failing by itself
    site.py           what the checks share: connections with a limit, and what Celery's workers answer
    configuration.py  settings that contradict          postgres.py     the server, its durability, its clock
    schema.py         migrations, triggers              redis_server.py the server, and what it may forget
    schedule.py       beat's entries                    beat.py         beat and the maintenance worker at work
    workers.py        chat workers, wake-ups            chats.py        chats that nobody moves on
    catalogue.py      models and their keys

Only looks, and never for long: a server that is down or hangs costs its own check, and those that need it are skipped.
"""

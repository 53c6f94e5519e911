"""Faults from the inside and from between: what `kill` cannot do. Each is seeded, counted, and off unless asked for.

    chat/crash.py        named points where a process dies, fails, hangs or skips a publication
    settings.py          the settings of a fault run (DJANGO_SETTINGS_MODULE): with what is in this folder
    faulty_postgres/     Django's Postgres backend that loses connections, above all around COMMIT
    database_faults.py   which of its faults strikes, and how often
    distortion.py        hints and wake-ups dropped, doubled, delayed and so reordered
    proxy.py             a TCP proxy before Postgres or Redis: delay, black hole, refusal, reset
    proxy_process.py     the same as a process, told what to do over a socket
    spec.py              what the environment, or a file that may change during a run, asks for
    latency.py           how much slower a turn is under each distortion

Every fault that lands is a line in CHATD_CHAOS_DIR/faults.jsonl (`chat.crash.Chaos.record`). Nothing here is imported
by the system: production cannot reach it without naming another settings module and setting CHATD_CHAOS=1.
"""

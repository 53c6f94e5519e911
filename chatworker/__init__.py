"""Who runs chats: Celery's doors, one chat worker per process, its runners and their work.

In the order data meets it:

    tasks.py        Celery's doors                  queues.py      which queue is for what
    bootstep.py     the chat worker inside a Celery worker
    worker.py       one per process: the loop       acquisition.py taking a chat, and the sweep
    leases.py       heartbeats, the reaper          manager.py     the runners of this process
    runner.py       one chat: state in, work out    resources.py   what the work needs of its process
    work/           step · generate · execute_tools · interrupt · commit
    deadlines.py    clients that do not answer
    loops.py        what a worker does again and again   tally.py      what it counted, for plots
    plan.py         what the next step of a turn is (pure)
    failure.py      error → kind, retryable, delay (pure)
    models/         providers behind one protocol; only this folder knows pydantic-ai
    schedule.py     the beat schedule               planner.py     beat's scheduler: runs planned from their end
    duties.py       archive and purge, as beat starts them       metrics.py  for Prometheus, and /healthz
    migrations/     the beat schedule
    testing.py      for tests of this project and of yours
"""

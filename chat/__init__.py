"""What a chat is: its state machine, its rows, its parts, its stream. No provider, no worker.

In the order data meets it:

    execution.py    the table (pure)              errors.py       every refusal (pure)
    models/         rows, constraints, triggers   update.py       the door, the fence
    rows/           the door's SQL                draft.py        what an update intends for history and queue
    transitions/    person · queue · client · runner · ownership · housekeeping
    inputs.py       options and results that clients send, checked (pure)
    stopping.py     a stop that waits for no worker
    capacity.py     how many may run, whose turn is next   presence.py  which workers are alive
    bulk.py         the door for many families      retention/      how long chats are kept
    task_runs.py    how background tasks went       seeding/        big databases that are made up
    hints.py        notices after commit; the only file that knows the broker
    publisher.py    publishing without waiting    outage.py       how a Redis that is away shows itself
    channels.py     names in Redis, the shape of a hint (pure)
    content.py      message parts, typed (pure)   prompt.py       which rows the model sees (pure)
    snapshot.py     one consistent reading        timeline.py     two snapshots → events (pure)
    episodes.py     parts of one attempt, in Redis                episode_writer.py  their writing end
    rendering.py    rows as the contract shows them (pure)        sse.py  events as bytes (pure)
    stream/         hub (one Redis connection per process) and the loop per chat
    api/            routers, schemas, access, problems            health.py  for whoever watches the process
    admin/          windows on the rows           terminal/       `manage.py chat`
    catalogue.py    which model a name means      secrets.py      keys at rest
    explain/        what is the matter with a chat         doctor/      what is wrong with an installation
    checks.py       settings that would lose data          fleet.py     the chat workers there are
    metrics.py      for Prometheus                         crash.py     points at which a fault run breaks things
    minutes.py      what workers did in each minute, for plots    titles.py  of chats that nobody named (pure)
    management/     commands, and what they have in common
    database.py     transactions from an event loop               diagram.py the table as a picture (pure)
"""

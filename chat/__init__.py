"""What a chat is: its state machine, its rows, its parts, its stream. No provider, no worker.

In the order data meets it:

    execution.py    the table (pure)              errors.py       every refusal (pure)
    models/         rows, constraints, triggers   update.py       the door, the fence
    rows.py         the door's SQL                transitions/    person · runner · ownership
    hints.py        notices after commit; the only file that knows the broker
    content.py      message parts, typed (pure)   prompt.py       which rows the model sees (pure)
    snapshot.py     one consistent reading        timeline.py     two snapshots → events (pure)
    episodes.py     parts of one attempt, in Redis
    sse.py          events as bytes, the cursor (pure)
    stream/         hub (one Redis connection per process) and the loop per chat
    api/            routers, schemas, access, problems
"""

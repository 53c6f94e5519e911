"""The machine as the specification describes it, in memory: what `tests/integration/test_state_machine.py` compares
the real one with.

Written from the specification alone, never from the code, and as plainly as possible: rows are lists, a transition is
one method, and nothing here is fast, safe or durable. Knows neither Django nor the database.

    world.py   chats, their history, queue and leases        block.py   one `chat_update`, all or nothing
    transitions.py   the effects table, a method each        walk.py    what a random walk does next
"""

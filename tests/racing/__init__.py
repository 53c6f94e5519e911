"""Two operations at once, and what either order of them would give: the support of `tests/integration/test_races.py`.

operations.py   one update or creation, taken by the machine or by the reference (`tests/reference/`)
drawing.py      a family of chats and two operations, out of a seed and a number
field.py        the rows of many such families, written and read in bulk
judging.py      whether the end is one that either order gives
threads.py      two threads that take the operations at the same moment, pair after pair
"""

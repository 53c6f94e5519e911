"""The work on one chat, a step at a time.

step.py       what the next step is, decided and begun inside the transaction that ended the last one
generate.py   call the model, stream its parts, commit its answer
execute_tools.py   answer the calls of the last assistant message
interrupt.py  keep what was streamed, and stop
commit.py     transactions that outlast an outage
"""

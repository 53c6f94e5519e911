"""Model providers behind one protocol; only this folder knows their clients. (No database models: those are the app
`chat`'s.)

    protocol.py  what generation and a model say to each other (pure)   catalogue.py  what the catalogue says of a model
    registry.py  one client per model and worker                         client.py, history.py  ours ↔ pydantic-ai
"""

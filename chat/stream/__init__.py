"""Live streams: from a chat's row and its episode to any number of clients, who may come and go.

    listener.py   one Redis pub/sub connection per process     feed.py   one loop per watched chat
    hub.py        the feeds of a process                       client.py one reader: its view and its outbox
    app.py        the SSE endpoint (ASGI)

Streams are readers: nothing here writes a chat, and a client's disconnect changes nothing. A feed holds no database
connection between two readings.
"""

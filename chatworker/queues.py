"""The two queues: chats, whose tasks last as long as an answer, and maintenance, whose tasks are short."""

CHATS_QUEUE, MAINTENANCE_QUEUE = "chats", "maintenance"

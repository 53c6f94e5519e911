"""What most teams glue together, as the yardstick of `./dev bench turn`: a Celery task and Redis pub/sub.

A request sends a Celery task; the task calls the model with OpenAI's client and publishes each piece of text; a stream
listens to the channel. Nothing is saved, nothing is resumed, a killed worker loses the answer: only its speed is of
interest here. The same model server, the same Redis and the same machine as the Chatd that is measured beside it.

    GLUE_REDIS=redis://… GLUE_MODEL=http://…/v1 python -m celery -A devtools.bench.glue worker --pool threads
    GLUE_REDIS=redis://… GLUE_MODEL=http://…/v1 python -m uvicorn devtools.bench.glue:web
"""

import asyncio
import json
import os
from typing import Any

import redis
import redis.asyncio
from celery import Celery
from kombu import Queue
from openai import OpenAI

REDIS = os.environ.get("GLUE_REDIS", "redis://localhost:6379/0")
MODEL = os.environ.get("GLUE_MODEL", "http://127.0.0.1:8901/v1")
THREADS = 64

app = Celery("glue", broker=REDIS.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host="))
app.conf.task_ignore_result = True
app.conf.task_queues = [Queue("glue")]
app.conf.task_default_queue = "glue"
app.conf.worker_concurrency = THREADS
_openai = OpenAI(api_key="none", base_url=MODEL, max_retries=0)
_publisher = redis.Redis.from_url(REDIS)
_listener = redis.asyncio.Redis.from_url(REDIS)


@app.task(name="glue.answer")
def answer(chat_id: str, text: str) -> None:
    stream = _openai.chat.completions.create(model="demo", messages=[{"role": "user", "content": text}], stream=True)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            _publisher.publish(f"glue:{chat_id}", json.dumps({"text": chunk.choices[0].delta.content}))
    _publisher.publish(f"glue:{chat_id}", json.dumps({"done": True}))


async def web(scope: Any, receive: Any, send: Any) -> None:
    """`POST /CHAT` {"text"} begins an answer; `GET /CHAT` streams what is published, as `message_part` and `status`."""
    if scope["type"] != "http":
        return
    chat_id = scope["path"].strip("/")
    if scope["method"] == "POST":
        body = json.loads((await receive())["body"])
        await asyncio.to_thread(answer.delay, chat_id, body["text"])
        await _start(send, 202, [(b"content-length", b"2")])
        await send({"type": "http.response.body", "body": b"{}"})
        return
    async with _listener.pubsub(ignore_subscribe_messages=True) as pubsub:
        await pubsub.subscribe(f"glue:{chat_id}")
        await _start(send, 200, [(b"content-type", b"text/event-stream")])
        await send({"type": "http.response.body", "body": b"event: ready\ndata: {}\n\n", "more_body": True})
        async for message in pubsub.listen():
            data = json.loads(message["data"])
            name, data = ("status", {"status": "waiting"}) if "done" in data else ("message_part", data)
            frame = f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
            await send({"type": "http.response.body", "body": frame, "more_body": True})


async def _start(send: Any, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})

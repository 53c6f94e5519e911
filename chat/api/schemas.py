"""What the API takes and gives. Shapes only; what they mean is in docs/api.md."""

from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from chat.content import MAX_TEXT

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
Line = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]


class In(Schema):
    model_config = ConfigDict(extra="forbid")


class Content(In):
    """Either `text` or `parts`."""

    text: Text | None = None
    parts: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def one_of_both(self) -> "Content":
        if (self.text is None) == (self.parts is None):
            raise ValueError("send either text or parts")
        return self

    def as_parts(self) -> list[dict[str, Any]]:
        return self.parts if self.parts is not None else [{"type": "text", "text": self.text}]


class NewChat(In):
    message: Content
    model: Line | None = None
    title: Line = ""
    labels: Annotated[list[Line], Field(max_length=20)] = []
    system: Annotated[str, StringConstraints(max_length=100_000, pattern=r"^[^\x00]*$")] = ""


class SendMessage(Content):
    busy_behavior: Literal["queue", "interrupt"] = "queue"
    model: Line | None = None


class Message(Schema):
    id: str
    role: str
    parts: list[dict[str, Any]]
    visibility: str
    revision: int
    model: str | None
    usage: dict[str, Any] | None
    interrupted: bool
    created_at: str


class QueuedMessage(Schema):
    id: str
    parts: list[dict[str, Any]]
    position: int
    model: str | None
    created_at: str


class Messages(Schema):
    items: list[Message]
    queue: list[QueuedMessage]


class SentMessage(Schema):
    message: Message


class Queued(Schema):
    queued_message: QueuedMessage


class Chat(Schema):
    id: str
    title: str
    status: Literal["waiting", "running", "interrupting", "requires_action", "error"]
    state: str
    archived: bool
    pinned: bool
    labels: list[str]
    model: str
    parent_id: str | None
    snapshot_version: int
    history_version: int
    queue_version: int
    generation_attempt: int
    retry_state: dict[str, Any] | None
    last_error: dict[str, Any] | None
    requires_action: dict[str, Any] | None
    waiting_for_capacity: dict[str, Any] | None
    usage: dict[str, Any] | None
    created_at: str
    updated_at: str


class Problem(Schema):
    """RFC 9457."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str

"""What the API takes and gives. Shapes only; what they mean is in docs/api.md."""

from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, StringConstraints, model_validator

from chat.content import MAX_TEXT
from chat.inputs import GenerationOptions, ToolResult

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT)]
Line = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]
Labels = Annotated[list[Line], Field(max_length=20)]


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
    options: GenerationOptions | None = None
    title: Line = ""
    labels: Labels = []
    system: Annotated[str, StringConstraints(max_length=100_000, pattern=r"^[^\x00]*$")] = ""


class ChatPatch(In):
    """What should be; what is left out stays as it is."""

    title: Line = ""
    archived: StrictBool = False
    pinned: StrictBool = False
    labels: Labels = []
    model: Annotated[Line, Field(min_length=1)] = ""

    def wanted(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


def options_of(options: GenerationOptions | None) -> dict[str, Any] | None:
    return None if options is None else options.model_dump(exclude_none=True)


class EditMessage(Content):
    model: Line | None = None
    options: GenerationOptions | None = None


class SendMessage(EditMessage):
    busy_behavior: Literal["queue", "interrupt", "steer"] = "queue"


class QueuePatch(In):
    """Another place, other words, or both."""

    position: Annotated[int, Field(strict=True, description="1 is the head.")] | None = None
    text: Text | None = None
    parts: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def something(self) -> "QueuePatch":
        if self.text is not None and self.parts is not None:
            raise ValueError("send either text or parts")
        if self.position is None and self.as_parts() is None:
            raise ValueError("send position, text or parts")
        return self

    def as_parts(self) -> list[dict[str, Any]] | None:
        return self.parts if self.text is None else [{"type": "text", "text": self.text}]


class ToolResults(In):
    results: list[ToolResult]


def _or(default: Any) -> BeforeValidator:
    return BeforeValidator(lambda value: default if value == "" else value)


class ChatList(Schema):
    """The query of a list of chats; a field without a value is as one left out."""

    archived: Annotated[bool, _or(False)] = Field(False, description="Archived chats instead of the others.")
    label: Line = Field("", description="Only chats with this label.")
    q: Line = Field("", description="Only chats whose title contains this, in capitals or not.")
    cursor: Line = Field("", description="`next_cursor` of the page before.")
    limit: Annotated[int, _or(50)] = Field(50, ge=1, le=200)


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
    steering: bool
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


class Chats(Schema):
    items: list[Chat]
    next_cursor: str | None


class Problem(Schema):
    """RFC 9457."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str


PROBLEMS = dict.fromkeys((401, 403, 404, 409, 422, 503), Problem)
"""What each endpoint may answer instead."""

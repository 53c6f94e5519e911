"""Rows, constraints and triggers. Models hold data; what may happen to it is in `chat/transitions/`."""

from chat.models.catalogue import ChatModel, ModelProvider
from chat.models.chat import Chat
from chat.models.lease import RunnerLease
from chat.models.message import ChatMessage, QueuedMessage, Role, Visibility
from chat.models.retention import RetentionPolicy
from chat.models.schedule import ScheduleDefault, TaskRun
from chat.models.token import ApiToken
from chat.models.worker import WorkerProcess

__all__ = [
    "ApiToken",
    "Chat",
    "ChatMessage",
    "ChatModel",
    "ModelProvider",
    "QueuedMessage",
    "RetentionPolicy",
    "Role",
    "RunnerLease",
    "ScheduleDefault",
    "TaskRun",
    "Visibility",
    "WorkerProcess",
]

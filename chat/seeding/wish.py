"""What is to be made. Pure."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Wish:
    chats: int
    messages: int
    """In all; at least one for each chat."""
    until: datetime
    """The present, for those chats."""
    seed: int = 0
    days: int = 400
    """How long ago the first of them began."""
    at_rest: bool = False
    """None that a worker would take, or that waits for its client."""
    model: str = "demo:demo"

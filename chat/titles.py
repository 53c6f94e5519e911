"""A title from the first words of a chat, until a better one is made. Pure."""

MAX_WORDS, MAX_LENGTH = 6, 80


def fallback_title(text: str) -> str:
    """The first six words of `text`, at most 80 characters; "New Chat" if there are none."""
    words = text.split()
    title = " ".join(words[:MAX_WORDS])
    if len(words) > MAX_WORDS:
        title += "..."
    if len(title) > MAX_LENGTH:
        title = title[: MAX_LENGTH - 3].rstrip() + "..."
    return title or "New Chat"

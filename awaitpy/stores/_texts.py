"""What a text has to be so that a store keeps it as it is."""

from __future__ import annotations

from awaitpy.durable._store import StoreError


def check_texts(*texts: str | None) -> None:
    """Raise a StoreError for an id or a name that not every store can keep."""
    for text in texts:
        if text is not None and not is_text(text):
            raise StoreError(
                f"The text {text!r} can't be kept: no NUL, and no half of a surrogate pair. "
                "Make ids and names of letters, digits and punctuation."
            )


def is_text(text: str) -> bool:
    """Whether it can be kept."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def are_texts(*texts: str | None) -> bool:
    """Whether all that are there can be kept."""
    return all(text is None or is_text(text) for text in texts)


def kept(trouble: str | None) -> str | None:
    """A traceback as it can be kept, whatever is quoted in it."""
    if trouble is None:
        return None
    return trouble.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")

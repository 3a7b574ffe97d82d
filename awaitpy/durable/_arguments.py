"""What `Durable` is given, looked at before anything is written. Raises TypeError and ValueError."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Final, cast, get_args

import msgspec

from awaitpy._arguments import is_unicode
from awaitpy._wire import Status

_STATUSES: Final[tuple[str, ...]] = get_args(Status)


def check_store(store: object) -> None:
    """Refuse what is no store."""
    if isinstance(store, type) or not hasattr(store, "claim"):
        raise TypeError(
            f"A Durable is given a store, not {store!r}: for a file, Durable(SQLiteStore('runs.db'), ...), "
            "from awaitpy.stores."
        )


def check_settings(lease: float, checkpoint: object, concurrency: int) -> None:
    """Refuse settings with which no run could be worked on, or not as they say."""
    if not 0 < lease < inf:  # NaN too
        raise ValueError(f"lease={lease:g} is no time to work in: give seconds, such as the usual 60.")
    if checkpoint not in {"each", "relaxed"}:
        raise ValueError(f"checkpoint={checkpoint!r} is not 'each' or 'relaxed'.")
    if concurrency < 1:
        raise ValueError(
            f"concurrency={concurrency!r} lets serve work on no run: give 1 or more, or don't call serve."
        )


def check_tries(tries: object) -> None:
    """Refuse a number where a policy is asked for."""
    if tries is not None and not hasattr(tries, "next"):
        raise TypeError(f"tries={tries!r} is {type(tries).__name__}: give Tries(limit={tries!r}), or none.")


def check_workflows(workflows: object) -> None:
    """Refuse one workflow where several are asked for."""
    if isinstance(workflows, str) or not isinstance(workflows, Iterable):
        raise TypeError(
            f"workflows= is {type(workflows).__name__}: give a list of functions, such as [checkout]."
        )


def check_id(name: str, run_id: object) -> None:
    """Refuse what no run can be named."""
    if not check_text(name, run_id):
        raise ValueError(f"The {name} is empty. Name the run after what it is about, as order-42.")


def check_text(name: str, text: object) -> str:
    """Give a text that every store can keep."""
    given = check_type(name, text)
    if not is_unicode(given):
        raise ValueError(
            f"{name}={text!r} has half of a surrogate pair, which is no text: decode what it was made "
            "from by its true encoding."
        )
    return given


def check_type(name: str, text: object) -> str:
    """Give what is a string."""
    if not isinstance(text, str):
        raise TypeError(f"{name}={text!r} is {type(text).__name__}: it has to be a str.")
    return text


def check_metadata(metadata: object) -> None:
    """Refuse metadata that are no plain values by name."""
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        kind = type(metadata).__name__
        raise TypeError(f"metadata={metadata!r} is {kind}: give a mapping of plain values.")
    try:
        msgspec.json.encode({**cast("Mapping[str, object]", metadata)}, order="deterministic")
    except TypeError as error:
        raise TypeError(f"metadata= is to be plain values, such as JSON has: {error}.") from None
    except UnicodeEncodeError as error:
        raise ValueError(
            f"metadata= has the text {error.object!r} with half of a surrogate pair, which is no text: "
            "decode what it was made from by its true encoding."
        ) from None
    except RecursionError:
        raise ValueError("metadata= is nested too deep, or has itself within: give plain values.") from None


def check_query(workflow: object, status: object, metadata: object) -> None:
    """Refuse what no run can be found by."""
    if workflow is not None:
        check_text("workflow", workflow)
    check_status(status)
    check_metadata(metadata)


def check_page(after: object, kind: type[object], limit: object) -> None:
    """Refuse a page that is none."""
    if after is not None and not isinstance(after, kind):
        raise TypeError(
            f"after={after!r} is no {kind.__name__}: give the last record of the page before, or "
            "await durable.get(run_id)."
        )
    if not isinstance(limit, int):
        raise TypeError(f"limit={limit!r} is {type(limit).__name__}: it has to be an int.")
    if limit < 1:
        raise ValueError(f"limit={limit!r} is a page of nothing: give 1 or more.")


def check_statuses(statuses: object) -> None:
    """Refuse one status where several are asked for: its letters are none."""
    if isinstance(statuses, str):
        raise TypeError(f"statuses={statuses!r} is a str: give a collection, such as [{statuses!r}].")
    for status in cast("Iterable[object]", statuses):
        check_status(status)


def check_status(status: object) -> None:
    """Refuse a status that no run can have."""
    if status is not None and status not in _STATUSES:
        raise ValueError(f"status={status!r} is none: a run is {', '.join(map(repr, _STATUSES))}.")

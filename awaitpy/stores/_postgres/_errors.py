"""From an error of the driver to one of the protocol."""

from __future__ import annotations

from psycopg import Error, InterfaceError, OperationalError, errors
from psycopg_pool import PoolClosed, PoolTimeout

from awaitpy.durable._store import StoreError

# What may pass: a lost connection, a server that starts or stops, a deadlock, a race for a key.
PASSING = (
    OperationalError,
    InterfaceError,
    errors.IdleInTransactionSessionTimeout,
    errors.ReadOnlySqlTransaction,
    errors.UniqueViolation,
)
TOO_LONG = errors.ProgramLimitExceeded
"""More than an index admits, which is for that write to be told, and not for those beside it."""
LASTING = (errors.DiskFull, PoolClosed, TOO_LONG)
WAITED = (PoolTimeout, errors.LockNotAvailable)


class Overtaken(OperationalError):
    """Somebody else wrote the same key a moment ago: read again."""


def is_passing(error: Error) -> bool:
    """Whether the same may work a moment later."""
    return isinstance(error, PASSING) and not isinstance(error, LASTING)


def is_worth_another_try(error: Error) -> bool:
    """Whether the same may work now. Who has waited for a connection, or a lock, has waited enough."""
    return is_passing(error) and not isinstance(error, WAITED)


def store_error(error: Error) -> StoreError:
    """The error of the protocol that stands for one of the driver."""
    said = str(error).strip().partition("\n")[0]
    return StoreError(
        f"PostgreSQL could not do it: {type(error).__name__}: {said.removesuffix('.')}.{_mend(error)}",
        transient=is_passing(error),
        waited=isinstance(error, WAITED),
    )


def _mend(error: Error) -> str:
    match error:
        case errors.UndefinedTable() | errors.InvalidSchemaName():
            return " Await `store.open()` first: it makes the tables."
        case TOO_LONG():
            return " Let ids and names have some hundred characters at most: they are indexed."
        case _:
            return ""


def copied(error: StoreError) -> StoreError:
    """The same for somebody else: an exception that two raise has the traceback of both."""
    return StoreError(str(error), transient=error.transient, waited=error.waited)

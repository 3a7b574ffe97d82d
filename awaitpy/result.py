"""Values instead of exceptions: `Ok(value)`, `Err(error)`, and `Result`, which is either."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import TypeIs

T = TypeVar("T")
E = TypeVar("E")
U = TypeVar("U")
F = TypeVar("F")
T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)


class UnwrapError(Exception):
    """The value was asked of an `Err`, or the error of an `Ok`."""


@final
@attrs.frozen
class Ok(Generic[T_co]):
    """Success: holds the `value`."""

    value: T_co

    def map(self, fn: Callable[[T_co], U], /) -> Ok[U]:
        """`Ok(fn(value))`."""
        return Ok(fn(self.value))

    def map_err(self, _fn: Callable[[Any], object], /) -> Ok[T_co]:
        """This `Ok` itself: there is no error to map."""
        return self

    def and_then(self, fn: Callable[[T_co], U], /) -> U:
        """`fn(value)`, which is a `Result` of its own."""
        return fn(self.value)

    def or_else(self, _fn: Callable[[Any], object], /) -> Ok[T_co]:
        """This `Ok` itself: there is no error to recover from."""
        return self

    def unwrap(self) -> T_co:
        """The value."""
        return self.value

    def unwrap_or(self, _default: object, /) -> T_co:
        """The value: the default is for an `Err`."""
        return self.value

    def unwrap_err(self) -> NoReturn:
        """Raise `UnwrapError`: there is no error to give."""
        raise UnwrapError(
            f"unwrap_err() asks for an error, and {self!r} is a success. "
            "Check with is_err(result) first, or match on the result."
        )


@final
@attrs.frozen
class Err(Generic[E_co]):
    """Failure: holds the `error`, any value that says what went wrong."""

    error: E_co

    def map(self, _fn: Callable[[Any], object], /) -> Err[E_co]:
        """This `Err` itself: there is no value to map."""
        return self

    def map_err(self, fn: Callable[[E_co], F], /) -> Err[F]:
        """`Err(fn(error))`."""
        return Err(fn(self.error))

    def and_then(self, _fn: Callable[[Any], object], /) -> Err[E_co]:
        """This `Err` itself: there is no value to go on with."""
        return self

    def or_else(self, fn: Callable[[E_co], F], /) -> F:
        """`fn(error)`, which is a `Result` of its own."""
        return fn(self.error)

    def unwrap(self) -> NoReturn:
        """Raise `UnwrapError`, caused by the error where that is an exception."""
        cause = self.error if isinstance(self.error, BaseException) else None
        raise UnwrapError(
            f"unwrap() asks for a value, and {self!r} is a failure. "
            "Check with is_ok(result) first, match on the result, or use unwrap_or(default)."
        ) from cause

    def unwrap_or(self, default: U, /) -> U:
        """The default."""
        return default

    def unwrap_err(self) -> E_co:
        """The error."""
        return self.error


Result = Ok[T] | Err[E]


def is_ok(result: Result[T, Any], /) -> TypeIs[Ok[T]]:
    """Whether the result is an `Ok`: where it is, a type checker knows its `value`."""
    return isinstance(result, Ok)


def is_err(result: Result[Any, E], /) -> TypeIs[Err[E]]:
    """Whether the result is an `Err`: where it is, a type checker knows its `error`."""
    return isinstance(result, Err)

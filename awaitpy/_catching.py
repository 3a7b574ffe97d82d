"""Turns named exceptions of a function that is not yours into a typed error."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, Union, overload

from awaitpy import _annotations as hints
from awaitpy._annotations import MISSING
from awaitpy.result import Err, Ok, Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from awaitpy.typing import NoUndeclaredError

    V = TypeVar("V", bound=NoUndeclaredError | None)

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E")
X = TypeVar("X")
_RESULT: Final = (Ok, Err)


@overload
def catching(
    fn: Callable[P, Awaitable[Result[T, X]]], *exceptions: type[Exception], into: Callable[[Any], E]
) -> Callable[P, Coroutine[Any, Any, Result[T, X | E]]]: ...
@overload
def catching(
    fn: Callable[P, Awaitable[V]], *exceptions: type[Exception], into: Callable[[Any], E]
) -> Callable[P, Coroutine[Any, Any, Result[V, E]]]: ...
@overload
def catching(
    fn: Callable[P, Result[T, X]], *exceptions: type[Exception], into: Callable[[Any], E]
) -> Callable[P, Result[T, X | E]]: ...
@overload
def catching(
    fn: Callable[P, V], *exceptions: type[Exception], into: Callable[[Any], E]
) -> Callable[P, Result[V, E]]: ...
def catching(
    fn: Callable[..., Any], *exceptions: type[Exception], into: Callable[[Any], Any]
) -> Callable[..., Any]:
    """Give `fn` with its named exceptions turned into `Err(into(exception))`.

    `step("charge", catching(client.charge, CardError, into=declined), amount)`. The types for the
    journal come from the annotations of `fn` and `into`. Other exceptions pass, and so does a `Result`
    that `fn` gives itself.
    """
    if inspect.iscoroutinefunction(hints.underlying(fn)):

        async def waited(*args: Any, **kwargs: Any) -> Any:
            try:
                return _result(await fn(*args, **kwargs))
            except exceptions as error:
                return Err(into(error))

        return _annotated(waited, fn, into)

    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return _result(fn(*args, **kwargs))
        except exceptions as error:
            return Err(into(error))

    return _annotated(called, fn, into)


def _result(given: Any) -> Any:
    return given if given.__class__ in _RESULT else Ok(given)


def _annotated(wrapper: Any, fn: Any, into: Any) -> Callable[..., Any]:
    """Say what the wrapper returns, resolved where each function was defined."""
    (value, own), error = hints.split(hints.returned(fn)), hints.returned(into)
    name = getattr(fn, "__qualname__", repr(fn))
    wrapper.__qualname__ = wrapper.__name__ = f"catching({name})"
    if value is not MISSING or error is not MISSING:
        made: Any = Result
        given = Any if value is MISSING else value
        failed = Any if error is MISSING else Union[error, error if own is MISSING else own]  # noqa: UP007  made at run time
        wrapper.__annotations__ = {"return": made[given, failed]}
    wrapper.__doc__ = fn.__doc__
    named: Callable[..., Any] = wrapper
    return named

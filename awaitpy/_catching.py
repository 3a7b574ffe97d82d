"""Turns named exceptions of a function that is not yours into a typed error."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Union, overload

from awaitpy import _annotations as annotations
from awaitpy._annotations import MISSING
from awaitpy.result import Err, Ok, Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E")


@overload
def catching(
    fn: Callable[P, Awaitable[T]], *exceptions: type[Exception], into: Callable[[Any], E]
) -> Callable[P, Coroutine[Any, Any, Result[T, E]]]: ...
@overload
def catching(
    fn: Callable[P, T], *exceptions: type[Exception], into: Callable[[Any], E]
) -> Callable[P, Result[T, E]]: ...
def catching(
    fn: Callable[..., Any], *exceptions: type[Exception], into: Callable[[Any], Any]
) -> Callable[..., Any]:
    """Give `fn` with its named exceptions turned into `Err(into(exception))`.

    `step("charge", catching(client.charge, CardError, into=declined), amount)`. The types for the
    journal come from the annotations of `fn` and `into`. Other exceptions pass.
    """
    if inspect.iscoroutinefunction(annotations.underlying(fn)):

        async def waited(*args: Any, **kwargs: Any) -> Any:
            try:
                return Ok(await fn(*args, **kwargs))
            except exceptions as error:
                return Err(into(error))

        return _annotated(waited, fn, into)

    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return Ok(fn(*args, **kwargs))
        except exceptions as error:
            return Err(into(error))

    return _annotated(called, fn, into)


def _annotated(wrapper: Any, fn: Any, into: Any) -> Any:
    """Say what the wrapper returns, resolved where each function was defined."""
    value, error = annotations.returned(fn), annotations.returned(into)
    name = getattr(fn, "__qualname__", repr(fn))
    wrapper.__qualname__ = wrapper.__name__ = f"catching({name})"
    if value is not MISSING or error is not MISSING:
        given = Any if value is MISSING else value
        failed = Any if error is MISSING else error
        wrapper.__annotations__ = {"return": Union[Ok[given], Err[failed]]}  # type: ignore[valid-type]  # made at run time
    functools.update_wrapper(wrapper, fn, assigned=("__doc__",), updated=())
    del wrapper.__wrapped__
    return wrapper

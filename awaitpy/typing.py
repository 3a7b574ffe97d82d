"""Types to annotate with: `Step` for a workflow's first parameter, `Workflow` for the whole."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    overload,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from typing import Literal, Never, Unpack
    from uuid import UUID

    from typing_extensions import TypeVar as TypeVarWithDefault

    from awaitpy._policy_errors import Cancelled, StepInterrupted, StepTimeout, UndoFailed
    from awaitpy._race import Winner
    from awaitpy._retry import Retry
    from awaitpy.errors import HookTimeout, PendingHook
    from awaitpy.result import Result

    _ChildError = HookTimeout | StepTimeout | StepInterrupted | Cancelled | UndoFailed
    V = TypeVar("V", bound="NoUndeclaredError | None")
    N = TypeVar("N", bound="NoPendingHook | None")
    X = TypeVarWithDefault("X", bound="NoPendingHook | None", default=Never)

P = ParamSpec("P")
A = TypeVar("A")
T = TypeVar("T")
E = TypeVar("E")
T_co = TypeVar("T_co", covariant=True)
E_contra = TypeVar("E_contra", contravariant=True)
F_co = TypeVar("F_co", covariant=True)


class _Wrapped(Protocol):
    """What `Ok` and `Err` are."""

    def unwrap_err(self) -> object: ...


# Python has no way to write "any type but this one", and the overloads of Step need two such types.
# A protocol can say it: a checker binds `self` first, so that the types to leave out have to give
# a str where every object gives an int, and all other types meet only the last overload. Overloads
# that exclude each other also keep mypy from giving Any for each fn with an Any in its signature.


class NoUndeclaredError(Protocol):
    """Any type but a `Result` and an awaitable.

    A type checker names it where a step's function can fail with an error that `Step[...]` does not
    declare: add the error to the workflow's `Step[...]`, or take it as a value by `step.attempt`.
    """

    @overload
    def __sizeof__(self: Awaitable[Any]) -> str: ...
    @overload
    def __sizeof__(self: _Wrapped) -> str: ...
    @overload
    def __sizeof__(self) -> int: ...


class NoPendingHook(Protocol):
    """Any type but `PendingHook`.

    A type checker names it where `step.attempt` waits for a hook and the workflow does not declare
    `PendingHook`: add it to the workflow's `Step[...]`, as the run can end with it.
    """

    @overload
    def __sizeof__(self: PendingHook) -> str: ...  # type: ignore[misc]  # self is no base, on purpose
    @overload
    def __sizeof__(self) -> int: ...


class Decoder(Protocol[T_co]):
    """A function from plain data to a payload, which raises if the data does not fit."""

    def __call__(self, data: Any, /) -> T_co:
        """Decode plain data."""
        ...


class WaitTerms(TypedDict, total=False):
    """The keyword arguments of `pending_hook`, which says what they mean."""

    metadata: Mapping[str, Any] | None
    timeout: timedelta | float | None
    accept: Callable[[Any], Result[Any, Any]] | None
    methods: Sequence[str] | None
    many: bool


class Options(TypedDict, total=False):
    """The keyword arguments of `step.options` that add no error, which says what they mean."""

    returns: Any
    since: int | None
    retry: Retry | None
    undo: Callable[[Any], Any] | None


class Acting(Protocol[E_contra]):
    """What a `Step` and a `PolicyStep` have in common."""

    @overload
    def __call__(
        self,
        key: str,
        fn: Callable[P, Awaitable[Result[T, E_contra]]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[object, Never, T]: ...
    @overload
    def __call__(
        self, key: str, fn: Callable[P, Result[T, E_contra]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, Never, T]: ...
    @overload
    def __call__(
        self, key: str, fn: Callable[P, Awaitable[V]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, Never, V]: ...
    @overload
    def __call__(
        self, key: str, fn: Callable[P, V], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, Never, V]: ...

    def sleep(self, key: str, duration: timedelta | float, /) -> Coroutine[object, Never, None]:
        """Go on after this time, a timedelta or seconds, whatever process the run is in by then.

        A short sleep is slept where the run is; for a longer one the run is suspended with
        `Err(PendingTimer)`, and `next_wakeup(state)` tells when to resume it.
        """
        ...

    def sleep_until(self, key: str, until: datetime, /) -> Coroutine[object, Never, None]:
        """Go on at this time, which has a zone."""
        ...

    def now(self, key: str, /) -> Coroutine[object, Never, datetime]:
        """The time, aware and in UTC, journaled: the same in every replay."""
        ...

    def uuid(self, key: str, /) -> Coroutine[object, Never, UUID]:
        """A random UUID (RFC 9562, version 4), journaled: the same in every replay."""
        ...

    def random(self, key: str, /) -> Coroutine[object, Never, float]:
        """A random number from 0 up to 1, journaled: the same in every replay."""
        ...


class Step(Acting[E_contra], Protocol[E_contra]):
    """What a workflow does everything by; as `Step[Declined | PendingHook]` it can end with these.

    `await step(key, fn, *args, **kwargs)` runs `fn` once per run, ever, and gives what it gave: its
    value is journaled under `key`, and a replay gives it without a call. `fn` is sync or async. Of
    a `Result`, `Ok` gives its value and `Err` ends the workflow with that error. An exception that
    leaves `fn` ends the run as `Err(UnexpectedError)`.

    `await step.attempt(key, fn, ...)` is the same and gives a `Result`: an `Err` is a value here,
    so that its error need not be declared. A wait still suspends the run, and gives
    `Err(HookTimeout)` after its deadline.

    Calls return coroutines: await them, or hand them to `asyncio.gather` or a `TaskGroup`.
    """

    @overload
    def attempt(
        self: Step[PendingHook],
        key: str,
        fn: Callable[P, Awaitable[Result[T, PendingHook]]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[object, Never, Result[T, HookTimeout]]: ...
    @overload
    def attempt(
        self: Step[PendingHook],
        key: str,
        fn: Callable[P, Result[T, PendingHook]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[object, Never, Result[T, HookTimeout]]: ...
    @overload
    def attempt(
        self,
        key: str,
        fn: Callable[P, Awaitable[Result[T, X]]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[object, Never, Result[T, X]]: ...
    @overload
    def attempt(
        self, key: str, fn: Callable[P, Result[T, X]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, Never, Result[T, X]]: ...
    @overload
    def attempt(
        self, key: str, fn: Callable[P, Awaitable[V]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, Never, Result[V, Never]]: ...
    @overload
    def attempt(
        self, key: str, fn: Callable[P, V], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, Never, Result[V, Never]]: ...

    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Awaitable[Result[T, E_contra]]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[False] = ...,
    ) -> Coroutine[object, Never, list[T]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Result[T, E_contra]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[False] = ...,
    ) -> Coroutine[object, Never, list[T]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Awaitable[V]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[False] = ...,
    ) -> Coroutine[object, Never, list[V]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], V],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[False] = ...,
    ) -> Coroutine[object, Never, list[V]]: ...
    @overload
    def map(
        self: Step[PendingHook],
        key: str,
        fn: Callable[[A], Awaitable[Result[T, PendingHook]]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, list[Result[T, HookTimeout]]]: ...
    @overload
    def map(
        self: Step[PendingHook],
        key: str,
        fn: Callable[[A], Result[T, PendingHook]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, list[Result[T, HookTimeout]]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Awaitable[Result[T, X]]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, list[Result[T, X]]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Result[T, X]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, list[Result[T, X]]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Awaitable[V]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, list[Result[V, Never]]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], V],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, list[Result[V, Never]]]: ...
    def map(self, *args: Any, **settings: Any) -> Any:
        """A list of what `fn` gives for each item, in the order of the items.

        Each item is a step of its own, with the keys `key/0`, `key/1`, ... and under the policy of this
        step. At most `limit` functions are under way (None: all); an item that waits (for a hook, a
        long sleep or retry) is not, so that all waits are pending together. The first `Err` ends the
        workflow: no new item begins, and those under way are journaled. With `collect=True` each item
        gives its `Result`, as by `attempt`.
        """
        ...

    def race(
        self,
        key: str,
        branches: Mapping[str, Callable[[Step[E_contra]], Awaitable[T]]],
        /,
    ) -> Coroutine[object, Never, Winner[T]]:
        """The `Winner(name, value)` of branches that run at once: the first to finish.

        Each branch is called with a step of its own, with keys under `key/name/`. The winner is
        journaled; the others are cancelled and awaited, and their hooks closed: a late delivery is
        `HookAlreadyResolved`. Of those that finish together the first of the dict wins. An error or
        an exception of a branch ends the run, as long as nobody has won.
        """
        ...

    @overload
    def options(
        self, *, timeout: None = ..., on_unknown: Literal["run"] | None = ..., **policy: Unpack[Options]
    ) -> Step[E_contra]: ...
    @overload
    def options(
        self,
        *,
        timeout: timedelta | float,
        on_unknown: Literal["run"] | None = ...,
        **policy: Unpack[Options],
    ) -> PolicyStep[E_contra, StepTimeout]: ...
    @overload
    def options(
        self, *, timeout: None = ..., on_unknown: Literal["fail"], **policy: Unpack[Options]
    ) -> PolicyStep[E_contra, StepInterrupted]: ...
    @overload
    def options(
        self, *, timeout: timedelta | float, on_unknown: Literal["fail"], **policy: Unpack[Options]
    ) -> PolicyStep[E_contra, StepTimeout | StepInterrupted]: ...
    def options(self, **policy: Any) -> Any:
        """The same step under a policy; what is not named stays as it is.

        - `returns`: the type to restore, for a function whose annotations do not say it.
        - `since`: the version of the workflow that added the step, no drift in older states then.
        - `retry`: a `Retry`, after which a failed attempt is made again.
        - `timeout`: of an attempt, a timedelta or seconds: the async function is cancelled and awaited,
          and the attempt gives `Err(StepTimeout)`. One that blocks the event loop is not interrupted.
        - `undo`: called with the value of the step if the run ends with an error, the last step first.
        - `on_unknown`: notes in the journal that an attempt begins, and what to do if a later leg
          finds that its end is not known: `"run"` it again, or `"fail"` with `StepInterrupted`.
        """
        ...

    def child(
        self,
        key: str,
        workflow: Callable[Concatenate[Step[E_contra], P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[object, Never, T]:
        """Run a workflow as a run of its own within this one, and give what it gives.

        Its state is kept in the state of this run, as `state.children[key]`, and its run id is this
        one's, `/`, and the key. Its hooks and timers are this run's too: a wait in it suspends both.
        Its `Err` ends this workflow. Of a policy it takes `undo`, `returns` and `since`.
        """
        ...

    @overload
    def attempt_child(
        self: Step[PendingHook],
        key: str,
        workflow: Callable[Concatenate[Step[PendingHook], P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[object, Never, Result[T, _ChildError]]: ...
    @overload
    def attempt_child(
        self: Step[PendingHook],
        key: str,
        workflow: Callable[Concatenate[Step[E | PendingHook], P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[object, Never, Result[T, E | _ChildError]]: ...
    @overload
    def attempt_child(
        self,
        key: str,
        workflow: Callable[Concatenate[Step[N], P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[object, Never, Result[T, N | _ChildError]]: ...
    def attempt_child(self, key: str, workflow: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The same, and gives a `Result`: an `Err` of the child is a value here.

        It is one that the child declares, or one with which any run can fail: a `HookTimeout`,
        `StepTimeout`, `StepInterrupted`, `Cancelled` or `UndoFailed`.
        """
        ...

    def scope(self, name: str) -> Step[E_contra]:
        """The same step with its keys under `name/`, for a branch or a workflow in a workflow."""
        ...


class PolicyStep(Acting[E_contra], Protocol[E_contra, F_co]):
    """A `Step` whose policy may give an error of its own, `F`: a `StepTimeout`, a `StepInterrupted`.

    The workflow need not declare it to end with it; `attempt` gives it too.
    """

    @overload
    def attempt(
        self: PolicyStep[PendingHook, F_co],
        key: str,
        fn: Callable[P, Awaitable[Result[T, PendingHook]]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[object, Never, Result[T, HookTimeout | F_co]]: ...
    @overload
    def attempt(
        self: PolicyStep[PendingHook, F_co],
        key: str,
        fn: Callable[P, Result[T, PendingHook]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[object, Never, Result[T, HookTimeout | F_co]]: ...
    @overload
    def attempt(
        self,
        key: str,
        fn: Callable[P, Awaitable[Result[T, X]]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[object, Never, Result[T, X | F_co]]: ...
    @overload
    def attempt(
        self, key: str, fn: Callable[P, Result[T, X]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, Never, Result[T, X | F_co]]: ...
    @overload
    def attempt(
        self, key: str, fn: Callable[P, Awaitable[V]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, Never, Result[V, F_co]]: ...
    @overload
    def attempt(
        self, key: str, fn: Callable[P, V], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[object, Never, Result[V, F_co]]: ...

    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Awaitable[Result[T, E_contra]]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[False] = ...,
    ) -> Coroutine[object, Never, list[T]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Result[T, E_contra]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[False] = ...,
    ) -> Coroutine[object, Never, list[T]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Awaitable[V]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[False] = ...,
    ) -> Coroutine[object, Never, list[V]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], V],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[False] = ...,
    ) -> Coroutine[object, Never, list[V]]: ...
    @overload
    def map(
        self: PolicyStep[PendingHook, F_co],
        key: str,
        fn: Callable[[A], Awaitable[Result[T, PendingHook]]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, Sequence[Result[T, HookTimeout | F_co]]]: ...
    @overload
    def map(
        self: PolicyStep[PendingHook, F_co],
        key: str,
        fn: Callable[[A], Result[T, PendingHook]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, Sequence[Result[T, HookTimeout | F_co]]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Awaitable[Result[T, X]]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, Sequence[Result[T, X | F_co]]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Result[T, X]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, Sequence[Result[T, X | F_co]]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], Awaitable[V]],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, Sequence[Result[V, F_co]]]: ...
    @overload
    def map(
        self,
        key: str,
        fn: Callable[[A], V],
        items: Iterable[A],
        /,
        *,
        limit: int | None = ...,
        collect: Literal[True],
    ) -> Coroutine[object, Never, Sequence[Result[V, F_co]]]: ...
    def map(self, *args: Any, **settings: Any) -> Any:
        """A list of what `fn` gives for each item, in the order of the items.

        Each item is a step of its own, with the keys `key/0`, `key/1`, ... and under the policy of this
        step. At most `limit` functions are under way (None: all); an item that waits (for a hook, a
        long sleep or retry) is not, so that all waits are pending together. The first `Err` ends the
        workflow: no new item begins, and those under way are journaled. With `collect=True` each item
        gives its `Result`, as by `attempt`.
        """
        ...

    def race(
        self,
        key: str,
        branches: Mapping[str, Callable[[PolicyStep[E_contra, F_co]], Awaitable[T]]],
        /,
    ) -> Coroutine[object, Never, Winner[T]]:
        """The `Winner(name, value)` of branches that run at once: the first to finish.

        Each branch is called with a step of its own, with keys under `key/name/`. The winner is
        journaled; the others are cancelled and awaited, and their hooks closed: a late delivery is
        `HookAlreadyResolved`. Of those that finish together the first of the dict wins. An error or
        an exception of a branch ends the run, as long as nobody has won.
        """
        ...

    @overload
    def options(
        self, *, timeout: None = ..., on_unknown: Literal["run"] | None = ..., **policy: Unpack[Options]
    ) -> PolicyStep[E_contra, F_co]: ...
    @overload
    def options(
        self,
        *,
        timeout: timedelta | float,
        on_unknown: Literal["run"] | None = ...,
        **policy: Unpack[Options],
    ) -> PolicyStep[E_contra, F_co | StepTimeout]: ...
    @overload
    def options(
        self, *, timeout: None = ..., on_unknown: Literal["fail"], **policy: Unpack[Options]
    ) -> PolicyStep[E_contra, F_co | StepInterrupted]: ...
    @overload
    def options(
        self, *, timeout: timedelta | float, on_unknown: Literal["fail"], **policy: Unpack[Options]
    ) -> PolicyStep[E_contra, F_co | StepTimeout | StepInterrupted]: ...
    def options(self, **policy: Any) -> Any:
        """The same step under a policy; what is not named stays as it is.

        - `returns`: the type to restore, for a function whose annotations do not say it.
        - `since`: the version of the workflow that added the step, no drift in older states then.
        - `retry`: a `Retry`, after which a failed attempt is made again.
        - `timeout`: of an attempt, a timedelta or seconds: the async function is cancelled and awaited,
          and the attempt gives `Err(StepTimeout)`. One that blocks the event loop is not interrupted.
        - `undo`: called with the value of the step if the run ends with an error, the last step first.
        - `on_unknown`: notes in the journal that an attempt begins, and what to do if a later leg
          finds that its end is not known: `"run"` it again, or `"fail"` with `StepInterrupted`.
        """
        ...

    def scope(self, name: str) -> PolicyStep[E_contra, F_co]:
        """The same step with its keys under `name/`, for a branch or a workflow in a workflow."""
        ...


Workflow = Callable[Concatenate[Step[E], P], Coroutine[Any, Any, T]]
"""An async function that takes a step first: `Workflow[E, P, T]` gives `T`, or ends with an `E`."""

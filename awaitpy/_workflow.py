"""What a workflow function says of itself: its name, its version, the types of its parameters."""

from __future__ import annotations

import inspect
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar, Union, get_args
from weakref import WeakKeyDictionary, ref

import msgspec

from awaitpy import _annotations as hints
from awaitpy import _payload as payloads
from awaitpy import errors
from awaitpy._annotations import MISSING, Unresolved
from awaitpy._arguments import is_unicode, kind, whole
from awaitpy._arguments import name as named
from awaitpy._wire import End, Payload
from awaitpy.errors import JournalError, PendingHook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awaitpy._payload import Codec, Codecs
    from awaitpy._state import ResumeState

F = TypeVar("F", bound="Callable[..., Any]")
_DECLARED: Final = "__awaitpy_workflow__"
VERSION: Final = "Count versions 1, 2, 3."
_NO_MIGRATIONS: Final[Mapping[int, Callable[[ResumeState], ResumeState]]] = MappingProxyType({})


def workflow(
    *,
    name: str | None = None,
    version: int = 1,
    migrations: Mapping[int, Callable[[ResumeState], ResumeState]] = _NO_MIGRATIONS,
) -> Callable[[F], F]:
    """Give a workflow a stable name and a version, which its states record. The function is unchanged.

    Without it the name is the function's `__qualname__` and the version 1. `migrations` holds pure
    functions from state to state, by the version of the state that each takes to the next one. Raises
    ValueError for one that leads beyond `version`, and TypeError or ValueError for a name that is no
    text or a version that is no int.
    """
    if name is not None:
        name = named("name=", name, "Name the workflow by a text that stays, or leave it out.")
    version = whole("version=", version, VERSION)
    beyond = [from_version for from_version in migrations if from_version >= version]
    if beyond:
        raise ValueError(
            f"migrations[{beyond[0]}] leads to version {beyond[0] + 1}, and the workflow is version "
            f"{version}. The key is the version that a migration takes to the next: raise version=, or "
            "lower the key."
        )

    def declare(function: F) -> F:
        declared = (name or function.__qualname__, version, dict(migrations))
        setattr(function, _DECLARED, declared)
        return function

    return declare


class Parameter(msgspec.Struct, frozen=True):
    """One parameter that the state records: its annotation as written, resolved when it is needed."""

    name: str
    kind: Any
    annotation: Any


class Described(msgspec.Struct, eq=False):
    """A workflow's name, version, types and migrations.

    `function` gives it, for as long as somebody else holds it: what is known of a closure must not
    keep alive what it closed over.
    """

    name: str
    version: int
    function: Callable[[], Any]
    signature: inspect.Signature
    step: Any
    parameters: tuple[Parameter, ...]
    returns: Any
    migrations: Mapping[int, Callable[[ResumeState], ResumeState]]
    resolved: dict[int | str, Any] = {}

    def argument_type(self, which: int | str) -> Any:
        """Give the type of an argument: of the one at this position after `step`, or of this name."""
        found = self.resolved.get(which, None)
        if found is None:
            parameter = self._positional(which) if isinstance(which, int) else self._named(which)
            annotation = MISSING if parameter is None else parameter.annotation
            found = self._resolve(which, annotation)
        return found

    def _positional(self, position: int) -> Parameter | None:
        own = [p for p in self.parameters if p.kind in _POSITIONAL]
        rest = [p for p in self.parameters if p.kind is inspect.Parameter.VAR_POSITIONAL]
        return own[position] if position < len(own) else next(iter(rest), None)

    def _named(self, name: str) -> Parameter | None:
        rest = [p for p in self.parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
        return next((p for p in self.parameters if p.name == name), next(iter(rest), None))

    def result_type(self) -> Any:
        """Give the type that the workflow returns."""
        return self._resolve("-> result", self.returns)

    def error_type(self) -> Any:
        """Give the union of the errors that the annotation of `step` declares, and of awaitpy's own."""
        args = get_args(self._resolve("-> error", self.step))
        declared = [e for e in (hints.members(args[0]) if args else ()) if e is not PendingHook]
        own = (errors.HookTimeout, errors.StepTimeout, errors.StepInterrupted, errors.Cancelled)
        return Union[(*declared, *own)] if declared else MISSING

    def _resolve(self, what: int | str, annotation: Any) -> Any:
        if what not in self.resolved:
            given = annotation is not MISSING
            self.resolved[what] = (
                hints.awaited(hints.resolve(annotation, self.function())) if given else MISSING
            )
        return self.resolved[what]


_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_described: Final[WeakKeyDictionary[Any, Described]] = WeakKeyDictionary()


def described(function: Any) -> Described:
    """Describe a workflow: a function, a partial, a bound method or a callable object."""
    if not inspect.isfunction(function):
        return _described_anew(function)
    found = _described.get(function)
    if found is None:
        found = _described[function] = _described_anew(function)
    return found


def _described_anew(function: Any) -> Described:
    if not callable(function):
        raise TypeError(
            f"A workflow is an async function that takes `step` first, not {kind(function)}: hand it over "
            "uncalled, and its arguments after it, as in run(flow, 1)."
        )
    inner = hints.underlying(function)
    name, version, migrations = getattr(inner, _DECLARED, (_name(inner), 1, _NO_MIGRATIONS))
    signature = hints.signature(function)
    parameters = list(signature.parameters.values())
    step = parameters[0].annotation if parameters else MISSING
    rest = tuple(Parameter(p.name, p.kind, p.annotation) for p in parameters[1:])
    returns = hints.written(inner).get("return", MISSING)
    return Described(name, version, ref(inner), signature, step, rest, returns, migrations)


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)


# --- arguments ----------------------------------------------------------------------------------


def recorded(
    flow: Described, args: tuple[Any, ...], kwargs: Mapping[str, Any], codecs: Codecs
) -> tuple[tuple[Payload, ...], dict[str, Payload]]:
    """Encode the arguments of a run. Raises `JournalError` for one that would come back changed."""
    positional = tuple([_encoded(flow, i, value, codecs) for i, value in enumerate(args)])
    for name in kwargs:
        if not is_unicode(name):
            raise _refused(flow, name, "$", "its name is no Unicode: half of a surrogate pair")
    return positional, {name: _encoded(flow, name, value, codecs) for name, value in kwargs.items()}


def _encoded(flow: Described, which: int | str, value: Any, codecs: Codecs) -> Payload:
    try:
        form, data = codecs.of_type(flow.argument_type(which)).encode(value)
    except payloads.Misfit as misfit:
        raise _refused(flow, which, misfit.path, misfit.problem) from None
    except Unresolved as error:
        raise _refused(flow, which, "the annotation", f"there is no type ({error})") from None
    return Payload(payloads.Raw(data), form)


def _refused(flow: Described, which: int | str, path: str, problem: str) -> JournalError:
    shown = which + 1 if isinstance(which, int) else repr(which)
    mend = "Annotate the parameter with exactly the type that is given." + payloads.converted(problem)
    return JournalError(f"Argument {shown} of workflow {flow.name!r}", path, problem, mend)


def bind(flow: Described, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Raise TypeError unless the workflow takes these arguments after its `step`."""
    flow.signature.bind(None, *args, **kwargs)


def restored(
    flow: Described, args: tuple[Payload, ...], kwargs: Mapping[str, Payload], codecs: Codecs
) -> tuple[list[Any], dict[str, Any]]:
    """Decode the arguments of a run. Raises `Misfit` or `Unresolved`."""
    positional = [codecs.of_type(flow.argument_type(i)).decode(p.value, p.form) for i, p in enumerate(args)]
    named = {
        name: codecs.of_type(flow.argument_type(name)).decode(p.value, p.form) for name, p in kwargs.items()
    }
    return positional, named


# --- results ------------------------------------------------------------------------------------


def ending(flow: Described, ok: bool, value: Any, codecs: Codecs) -> End:
    """Record how a run ended. A result that no type restores is left out: a replay gives it again."""
    try:
        form, data = _result_codec(flow, ok, codecs).encode(value)
    except (payloads.Misfit, Unresolved):
        return End(ok, recorded=False)
    return End(ok, payloads.Raw(data), True, form)


def ended(flow: Described, end: End, codecs: Codecs) -> Any:
    """Restore how a run ended. Raises `Misfit` or `Unresolved`."""
    if not end.recorded:
        raise payloads.Misfit("$", "the result was not recorded")
    return _result_codec(flow, end.ok, codecs).decode(end.value, end.form)


def _result_codec(flow: Described, ok: bool, codecs: Codecs) -> Codec:
    return codecs.of_type(flow.result_type() if ok else flow.error_type())

"""A change of journaled values: read as plain data or as a type, changed, written so that it is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from awaitpy import _fidelity, _wire
from awaitpy import _payload as payloads
from awaitpy._annotations import MISSING
from awaitpy._incoming import decode_payload
from awaitpy._payload import Misfit
from awaitpy._wire import ANSWER, ERROR, NATIVE, PLAIN, TAGGED, VALUE, Entry, Form, OpenHook
from awaitpy.errors import JournalError, StateError, StepMisuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from cattrs import Converter

T = TypeVar("T")

_replace: Final = msgspec.structs.replace
_decode_any: Final = msgspec.msgpack.Decoder().decode
_decode_tagged: Final = msgspec.msgpack.Decoder(tuple[str, Form, msgspec.Raw]).decode


class Change:
    """What is made of a value: read as plain data or a type, changed, and written so that it is exact."""

    def __init__(
        self, what: str, fn: Callable[[Any], Any], takes: Any, returns: Any, converter: Converter | None
    ) -> None:
        self.what, self.fn, self.takes = what, fn, takes
        self.returns = takes if returns is MISSING else returns
        self.codecs = payloads.Codecs(converter)

    def value(self, form: Form, raw: msgspec.Raw, *, error: bool = False) -> tuple[Form, msgspec.Raw]:
        """Change what a step gave, or its error. Raises `StateError` or `JournalError`."""
        if self.takes is MISSING and form == TAGGED and self.returns is MISSING:
            tag, inner, held = self._read(lambda: _decode_tagged(raw))
            return form, msgspec.Raw(_wire.encode((tag, *self.value(inner, held))))
        value = self.fn(self._read(lambda: self._decoded(form, raw, error)))
        if self.returns is MISSING:
            return form, self._written(lambda: _exact(value))
        codec = self._codec(self.returns, error)
        form, data = self._written(lambda: codec.encode(value))
        return form, msgspec.Raw(data)

    def delivery(self, raw: msgspec.Raw) -> msgspec.Raw:
        """Change what was delivered to a wait. Raises `StateError` or `JournalError`."""
        payload = Any if self.takes is MISSING else self.takes
        value = self.fn(self._read(lambda: decode_payload(raw, payload, self.codecs)))
        if self.returns is MISSING:
            return self._written(lambda: _exact(value))
        codec = self._codec(self.returns, error=False)
        form, data = self._written(lambda: codec.encode(value))
        if form > NATIVE:
            raise self._refused(Misfit("$", f"a {type(value).__name__} needs a converter"))
        return msgspec.Raw(data)

    def _decoded(self, form: Form, raw: msgspec.Raw, error: bool) -> Any:
        if self.takes is not MISSING:
            return self._codec(self.takes, error).decode(raw, form)
        if form == TAGGED:
            _, inner, held = _decode_tagged(raw)
            return self._decoded(inner, held, error)
        return _decode_any(raw)

    def _codec(self, tp: Any, error: bool) -> payloads.Codec:
        returns = self.codecs.of_return(tp)
        return returns.errors if error else returns.values

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (Misfit, msgspec.MsgspecError, UnicodeError, ValueError, TypeError, RecursionError) as error:
            misfit = payloads.misfit_of(error)
            raise StateError(
                f"The value of {self.what} can't be read at {misfit.path}: "
                f"{misfit.problem}. Name the type that it has by takes=..., or take plain data."
            ) from None

    def _written(self, write: Callable[[], T]) -> T:
        try:
            return write()
        except Misfit as misfit:
            raise self._refused(misfit) from None

    def _refused(self, misfit: Misfit) -> JournalError:
        mend = "Name the type that the migration gives by returns=..., or give plain data."
        return JournalError(f"The migration of {self.what}", misfit.path, misfit.problem, mend)


def _exact(value: Any) -> msgspec.Raw:
    """Encode plain data. Raises `Misfit` for what would come back as something else."""
    try:
        data = _wire.encode(value)
        found = _fidelity.difference(value, _decode_any(data))
        if found is None and not _fidelity.shallow(value):
            found = ("$", "the value is nested too deep")
    except Exception as error:  # noqa: BLE001  an object, an int of more than 64 bits, a lone surrogate, a cycle
        raise payloads.misfit_of(error) from None
    if found is not None:
        raise Misfit(*found)
    return msgspec.Raw(data)


def of_entry(entry: Entry, change: Change) -> Entry:
    """Change what a step gave. Raises `StepMisuse` for an entry that holds nothing of the kind."""
    if entry.kind == ANSWER:
        return _replace(entry, payload=change.delivery(entry.payload), form=PLAIN)
    if entry.kind not in {VALUE, ERROR}:
        raise StepMisuse(
            f"Step {entry.key!r} has no payload to change: the journal has a {entry.kind_name} for it."
        )
    form, raw = change.value(entry.form, entry.payload, error=entry.kind == ERROR)
    return _replace(entry, payload=raw, form=form)


def of_hook(hook: OpenHook, key: str, change: Change) -> OpenHook:
    """Change what was delivered to the wait `key` and is not taken yet."""
    if hook.step_key != key:
        return hook
    changed_ = tuple(_replace(d, value=change.delivery(d.value)) for d in hook.deliveries)
    return _replace(hook, deliveries=changed_)

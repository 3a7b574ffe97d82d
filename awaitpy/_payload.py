"""Typed payloads: from a value to bytes when a step completes, and back when a replay asks.

A codec belongs to a type that the code names. Its fast way is one generated check and msgspec; a value
that fails the check goes the slow way, where only a round trip that gives back the very same value
is taken. What fails that too is refused with a `JournalError`.
"""

from __future__ import annotations

import re
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import msgspec

from awaitpy import _annotations as hints
from awaitpy import _fidelity
from awaitpy._annotations import MISSING
from awaitpy._wire import CONVERTED, NATIVE, PLAIN, TAGGED, Form, encode
from awaitpy.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cattrs import Converter

Raw = msgspec.Raw
_decode_any: Final = msgspec.msgpack.Decoder().decode


class Misfit(Exception):
    """Where a value can't be carried, and why."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem


class Codec:
    """Bytes of one type. `check` says whether the fast way, `encode` of the value itself, is exact."""

    __slots__ = ("_codecs", "check", "form", "native", "type")

    def __init__(self, tp: Any, codecs: Codecs) -> None:
        self.type = tp
        self._codecs = codecs
        # The first codec of a type needs it, and not each program that starts.
        from awaitpy import _check  # noqa: PLC0415

        self.native = _native_decoder(tp)
        self.form: Form = PLAIN if _check.is_plain(tp) else NATIVE
        apart = getattr(tp, "journaled_apart", False) is True
        generated = _check.exact(tp) if self.native and not apart else None
        self.check: Callable[[Any], bool] = generated or _never

    def encode(self, value: Any) -> tuple[Form, bytes]:
        """Give the form and the bytes of a value that comes back exactly, or raise `Misfit`."""
        try:
            if self.check(value):
                return self.form, encode(value)
        except (OverflowError, UnicodeError, RecursionError):
            pass  # the slow way says where and why
        return self.encode_slowly(value)

    def encode_slowly(self, value: Any) -> tuple[Form, bytes]:
        """Encode in the way that restores the value, found by trying, or raise `Misfit`."""
        misfit = self._try(NATIVE, value) if self.native else None
        if isinstance(misfit, bytes):
            return self.form, misfit
        if len(hints.members(self.type)) > 1:
            tagged = self._tagged(value)
            if tagged is not None:
                return TAGGED, tagged
        converted = self._try(CONVERTED, value)
        if isinstance(converted, bytes):
            return CONVERTED, converted
        raise converted if misfit is None or misfit.problem.endswith(NOT_ENCODED) else misfit

    def decode(self, payload: msgspec.Raw, form: Form) -> Any:
        """Restore a value. Raises `Misfit` when the bytes are of another type than the code names."""
        try:
            return self._read(payload, form)
        except Exception as error:
            raise misfit_of(error) from error

    def _read(self, payload: Any, form: Form) -> Any:
        if form <= NATIVE:
            return self._native(payload)
        if form == TAGGED:
            tag, inner, raw = _TAGGED_DECODER(payload)
            return self._member(tag).decode(raw, inner)
        return self._codecs.converter.structure(_decode_any(payload), self.type)

    def _native(self, payload: Any) -> Any:
        if self.native is None:
            raise Misfit("$", "the journal has it in a form that the type named now does not have")
        return self.native(payload)

    def _try(self, form: Form, value: Any) -> bytes | Misfit:
        try:
            data = encode(value if form == NATIVE else self._unstructured(value))
            found = _fidelity.difference(value, self._read(data, form))
        except Exception as error:  # noqa: BLE001  hooks and classes of users may raise anything
            return self._explained(error, value)
        return data if found is None else Misfit(*found)

    def _unstructured(self, value: Any) -> Any:
        return self._codecs.converter.unstructure(value, unstructure_as=self.type)

    def _explained(self, error: Exception, value: Any) -> Misfit:
        unsupported = re.search(_UNSUPPORTED, str(error))
        if unsupported is not None:
            name = unsupported[1].rpartition(".")[2]
            problem = f"{_fidelity.with_article(name)} {NOT_ENCODED}"
            return Misfit(_fidelity.unsupported(value, name), problem)
        named = hints.class_of(self.type)
        if getattr(named, "_is_protocol", False):
            return Misfit("$", f"{named.__name__} is a protocol, and no class that could be made again")
        if isinstance(error, RecursionError):
            return Misfit("$", "the value contains itself or is nested too deep")
        return misfit_of(error)

    def _tagged(self, value: Any) -> bytes | None:
        found = hints.tags_of(value, hints.tags(self.type))
        for tag in found:
            try:
                form, data = self._member(tag).encode(value)
            except Misfit:
                continue
            # A converter may take a value for another member of the same class; the check doesn't.
            if form <= NATIVE or len(found) == 1:
                return encode((tag, form, msgspec.Raw(data)))
        return None

    def _member(self, tag: str) -> Codec:
        named = hints.tags(self.type)
        if tag not in named:
            raise Misfit("$", f"the journal has a {tag}, and the code names {', '.join(named)}")
        return self._codecs.of_type(named[tag])


# Patterns are compiled when they are first needed, which is rarely: every start would pay for it.
_UNSUPPORTED: Final = r"Encoding objects of type (\S+) is unsupported"
_TAGGED_DECODER: Final = msgspec.msgpack.Decoder(tuple[str, Form, msgspec.Raw]).decode


class PlainCodec(Codec):
    """Bytes of values without a type: only what MessagePack restores as it is."""

    __slots__ = ()

    def __init__(self, codecs: Codecs) -> None:
        self.type, self.form, self._codecs = Any, PLAIN, codecs
        self.native = _decode_any
        self.check = _fidelity.plain

    def encode_slowly(self, value: Any) -> tuple[Form, bytes]:
        """Refuse the value: say which part of it needs a type, or what MessagePack can't hold."""
        found = _fidelity.offender(value)
        if found is not None:
            raise Misfit(*found)
        try:
            return PLAIN, encode(value)
        except Exception as error:  # an int of more than 64 bits, a lone surrogate
            raise misfit_of(error) from error

    def _read(self, payload: Any, form: Form) -> Any:
        if form != PLAIN:
            raise Misfit("$", "the journal has a typed value, and the code names no type now")
        return _decode_any(payload)


def _never(_: Any) -> bool:
    return False


def _native_decoder(tp: Any) -> Callable[[Any], Any] | None:
    try:
        return msgspec.msgpack.Decoder(tp).decode
    except Exception:  # noqa: BLE001  foreign annotations are evaluated, which may raise anything
        return None


def misfit_of(error: Any) -> Misfit:
    """Make a misfit of what msgspec, cattrs or a class said."""
    if isinstance(error, Misfit):
        return error
    text = str(error) or type(error).__name__
    if hasattr(error, "exceptions"):  # cattrs's, which knows where
        from cattrs import transform_error  # noqa: PLC0415  it raised this, so it is imported already

        text, _, place = transform_error(error)[0].rpartition(" @ ")
        return Misfit(place or "$", text)
    placed = re.fullmatch(_PLACED, text)
    return Misfit(_path(placed[2], placed[3]), placed[1]) if placed else Misfit("$", text)


# msgspec writes " - at `$.a[...]`", and "at `key` in `$.a`" for the key of a dict.
_PLACED: Final = r"(?s)(.*?) - at `([^`]*)`(?: in `([^`]*)`)?"


def _path(place: str, owner: str | None) -> str:
    return place if owner is None else f"{owner}[{place}]"


class Returns:
    """The two codecs of a function: of its value and of its typed error."""

    __slots__ = ("check", "errors", "form", "named", "native", "reads", "values")

    def __init__(self, annotation: Any, values: Codec, errors: Codec) -> None:
        self.named = annotation is not MISSING
        self.values, self.errors = values, errors
        # What most steps need of their codec, one look-up nearer.
        self.check, self.native = values.check, values.native or _decode_any
        self.form: Form = values.form
        self.reads = values.form if values.native else None


class Codecs:
    """Makes codecs and keeps them: one for each type, and one pair for each function's code."""

    def __init__(self, converter: Converter | None = None) -> None:
        self._converter = converter
        self._types: dict[Any, Codec] = {}
        self._functions: WeakKeyDictionary[Any, Returns] = WeakKeyDictionary()
        self._plain = PlainCodec(self)
        self.untyped = Returns(MISSING, self._plain, self._plain)

    @property
    def converter(self) -> Converter:
        """The user's converter, or awaitpy's, made when first asked for."""
        if self._converter is None:
            # cattrs takes longer to import than all of awaitpy, and most programs never need it.
            from awaitpy._converter import make_converter  # noqa: PLC0415

            self._converter = make_converter()
        return self._converter

    def of_type(self, tp: Any) -> Codec:
        """Give the codec of a type; for no type and for Any, the plain one."""
        if tp is MISSING or tp is Any or tp is object:
            return self._plain
        try:
            found = self._types.get(tp)
        except TypeError:  # a type that can't be hashed, such as Literal[[]]
            return Codec(tp, self)
        if found is None:
            found = self._types[tp] = Codec(tp, self)
        return found

    def of_return(self, tp: Any) -> Returns:
        """Give the codecs for what a function of this return type gives."""
        value, error = hints.split(tp)
        return Returns(tp, self.of_type(value), self.of_type(error))

    def of_function(self, fn: Any) -> Returns:
        """Give the codecs for what `fn` is annotated to return. Raises `Unresolved`."""
        function = fn if fn.__class__ is FunctionType else hints.underlying(fn)
        if function.__class__ is not FunctionType:  # a class, or something made in C
            return self._resolved(fn)
        if not hints.is_annotated(function):
            return self.untyped
        found = self._functions.get(function)
        if found is None:
            found = self._functions[function] = self._resolved(function)
        return found

    def of_new(self, fn: Any, known: dict[Any, Returns]) -> Returns:
        """Give the same for a function that is not `known` yet, as it is from now on.

        Functions without annotations are not kept: a lambda is another one each time. Raises NameError
        (Python 3.14) for annotations with a name that is not known, and `Unresolved`.
        """
        if fn.__class__ is FunctionType and not fn.__annotations__:
            return self.untyped
        found = known[fn] = self.of_function(fn)
        return found

    def _resolved(self, fn: Any) -> Returns:
        tp = hints.returned(fn)
        return self.untyped if tp is MISSING else self.of_return(tp)


_GENERATOR: Final = r"an? (async_)?generator "
NOT_ENCODED: Final = "can't be encoded"
UNWRITABLE: Final = (
    " If its class is meant, say how it is written and read: Runner(converter=...), see make_converter."
)


def journal_error(what: str, misfit: Misfit, *, named: bool) -> JournalError:
    """Make the error for a value that was refused, with the mend that fits."""
    mend = (
        "Return exactly what the annotation names, or name the type that the value has: in the "
        "annotation, or by step.options(returns=...)."
        if named
        else "Name the type: annotate the function's return (a lambda has none), or use "
        "step.options(returns=...)."
    )
    if re.match(_GENERATOR, misfit.problem):
        mend = "Collect what it yields within the step, and return the list."
    else:
        mend += converted(misfit.problem)
    return JournalError(what, misfit.path, misfit.problem, mend)


def converted(problem: str) -> str:
    """Give the rest of the mend for a value of a class that nobody can write yet."""
    return UNWRITABLE if problem.endswith(NOT_ENCODED) else ""

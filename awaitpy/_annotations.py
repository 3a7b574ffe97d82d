"""What the code says of types: the annotation of a function, resolved and taken apart."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Awaitable, Coroutine
from typing import Annotated, Any, Final, Union, get_args, get_origin

from awaitpy.result import Err, Ok


class Unresolved(Exception):
    """An annotation that gives no type: a name that can't be found, or no type at all."""


MISSING: Final[Any] = inspect.Signature.empty
_AWAITABLE: Final = frozenset({Awaitable, Coroutine})
_UNION: Final = frozenset({Union, types.UnionType})
# Python 3.14, where inspect has imported this, evaluates annotations when it is asked for them, and
# can leave names that are not known: one that only type checkers know must not hide the others.
_late: Final[Any] = sys.modules.get("annotationlib")
_ANNOTATIONS: Final[dict[str, Any]] = {} if _late is None else {"format": _late.Format.FORWARDREF}
_SIGNATURE: Final[dict[str, Any]] = {f"annotation_{name}": value for name, value in _ANNOTATIONS.items()}


def underlying(fn: Any) -> Any:
    """Give the function behind partials, bound methods and callable objects."""
    while isinstance(fn, functools.partial):
        fn = typing.cast("Any", fn.func)
    if inspect.ismethod(fn):
        return fn.__func__
    if inspect.isfunction(fn) or isinstance(fn, type):
        return fn
    if hasattr(fn, "__wrapped__"):  # as functools.cache makes it
        return underlying(fn.__wrapped__)
    cls: Any = fn.__class__
    return getattr(cls, "__call__", fn)  # noqa: B004  the function itself is wanted


def written(function: Any) -> dict[str, Any]:
    """Give the annotations of a function as they are written, as far as their names are known."""
    return inspect.get_annotations(function, **_ANNOTATIONS) if callable(function) else {}


def signature(function: Any) -> inspect.Signature:
    """Give the parameters of a function, annotated so."""
    return inspect.signature(function, **_SIGNATURE)


def is_annotated(function: types.FunctionType) -> bool:
    """Whether a function has annotations, which are not evaluated for that."""
    return getattr(function, "__annotate__", None) is not None or bool(function.__annotations__)


def resolve(annotation: Any, function: Any) -> Any:
    """Evaluate a string annotation where `function` was defined, its closure included.

    Raises `Unresolved` when that gives no type.
    """
    home = inspect.unwrap(function)
    names = {**_type_parameters(home), **_closure(home)}
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    scope = getattr(home, "__globals__", {})
    try:
        return typing.get_type_hints(holder, scope, names, include_extras=True)["it"]
    except Exception as error:
        raise Unresolved(f"{type(error).__name__}: {error}") from error


def _closure(function: Any) -> dict[str, Any]:
    cells = getattr(function, "__closure__", None) or ()
    names = function.__code__.co_freevars if cells else ()
    return {name: cell.cell_contents for name, cell in zip(names, cells, strict=False) if _filled(cell)}


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  an empty cell raises when it is read
    except ValueError:
        return False
    return True


def _type_parameters(function: Any) -> dict[str, Any]:
    return {p.__name__: p for p in getattr(function, "__type_params__", ())}


def returned(fn: Any) -> Any:
    """Give what `fn` is annotated to return, awaited; MISSING without annotation. Raises `Unresolved`."""
    function = underlying(fn)
    if isinstance(function, type):
        return function
    annotation = written(function).get("return", MISSING)
    if annotation is MISSING:
        return MISSING
    return awaited(resolve(annotation, function))


def awaited(tp: Any) -> Any:
    """Give T of Awaitable[T] and Coroutine[Any, Any, T]; any other type as it is."""
    origin = get_origin(tp)
    if origin in _AWAITABLE:
        return get_args(tp)[-1]
    return tp


def bare(tp: Any) -> Any:
    """Take off what a reader sees and a value doesn't have: Annotated, NewType, type aliases."""
    while True:
        if get_origin(tp) is Annotated:
            tp = get_args(tp)[0]
        elif isinstance(tp, typing.NewType):
            tp = tp.__supertype__
        elif (alias := getattr(tp, "__value__", None)) is not None and _is_alias(tp):
            tp = alias
        else:
            return tp


def _is_alias(tp: Any) -> bool:
    return type(tp).__name__ == "TypeAliasType"


def members(tp: Any) -> tuple[Any, ...]:
    """Give the members of a union; of any other type, itself."""
    tp = bare(tp)
    if get_origin(tp) in _UNION:
        return tuple(m for arg in get_args(tp) for m in members(arg))
    return (tp,)


def split(tp: Any) -> tuple[Any, Any]:
    """Take `Result[T, E]` apart into T and E; MISSING for the half that isn't named."""
    oks: list[Any] = []
    errs: list[Any] = []
    for member in members(tp):
        origin = get_origin(member) or member
        if origin is Err:
            errs += members(get_args(member)[0]) if get_args(member) else [Any]
        elif origin is Ok:
            oks += members(get_args(member)[0]) if get_args(member) else [Any]
        else:
            oks.append(member)
    return _joined(oks), _joined(errs)


def _joined(types_: list[Any]) -> Any:
    if len(types_) < 2:  # noqa: PLR2004  a union of one is that one, even if it can't be hashed
        return types_[0] if types_ else MISSING
    return Union[tuple(types_)]  # noqa: UP007  made at run time


def class_of(tp: Any) -> Any:
    """Give the class of a type: `Box` of `Box[int]`."""
    tp = bare(tp)
    return get_origin(tp) or tp


def tags(tp: Any) -> dict[str, Any]:
    """Give the members of a union by the tag that is journaled for each: the name of its class.

    Where two classes have one name, the module's name comes before it; where two members have one
    class, such as Box[int] and Box[str], the whole type is the tag.
    """
    parts = members(tp)
    names = [_class_name(part) for part in parts]
    return {_tag(part, name, names, parts): part for part, name in zip(parts, names, strict=True)}


def _tag(part: Any, name: str, names: list[str], parts: tuple[Any, ...]) -> str:
    if names.count(name) == 1:
        return name
    alike = [other for other in parts if class_of(other) is class_of(part)]
    return f"{class_of(part).__module__}.{name}" if len(alike) == 1 else repr(part)


def _class_name(tp: Any) -> str:
    return getattr(class_of(tp), "__qualname__", str(tp))


def tags_of(value: Any, named: dict[str, Any]) -> list[str]:
    """Give the tags of the members whose class is exactly that of the value."""
    return [tag for tag, member in named.items() if class_of(member) is type(value)]

"""What the errors that are values share."""

from __future__ import annotations

from typing import Any

import attrs


class Value:
    """A frozen error whose `repr` shows the fields that say something."""

    __slots__ = ()

    def __repr__(self) -> str:
        cls: Any = type(self)
        names = [field.name for field in attrs.fields(cls) if field.repr]
        shown = (f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({', '.join(shown)})"


class PolicyError(Value):
    """What a policy gives a step instead of a value, whatever its function may fail with."""

    __slots__ = ()

"""Durable workflows as values: run, suspend at a hook, resume days later in another process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awaitpy._hooks import (
    Hook,
    Won,
    create_hook,
    first_of,
    get_pending_hooks,
    has_pending_hook,
    inject_hook,
    is_pending_hook,
    next_wakeup,
    pending_hook,
)
from awaitpy._policy import Retry
from awaitpy._policy_errors import (
    Cancelled,
    NotUndone,
    PendingTimer,
    StepInterrupted,
    StepTimeout,
    UndoFailed,
)
from awaitpy._runner import Outcome, Runner, resume, run
from awaitpy._state import (
    PendingRecord,
    ResumeState,
    TimerRecord,
    append_entries,
    cancel,
    forget,
    rewind,
)
from awaitpy._timers import pending_timer
from awaitpy._waiting import Refusal
from awaitpy._wire import Entry
from awaitpy._workflow import workflow
from awaitpy.errors import (
    AwaitpyError,
    DuplicateStepKey,
    HookAlreadyResolved,
    HookError,
    HookExpired,
    HookRejected,
    HookTimeout,
    InvalidPayload,
    JournalError,
    MethodNotAllowed,
    PayloadMisfit,
    PendingHook,
    RunError,
    RunFinished,
    StateError,
    StepMisuse,
    SuspensionSwallowed,
    UnexpectedError,
    UnknownHook,
    UnknownStep,
    UnreadableEntry,
    VersionMismatch,
    WorkflowDrift,
    WorkflowMismatch,
)
from awaitpy.events import Event
from awaitpy.result import Err, Ok, Result, is_err, is_ok
from awaitpy.typing import Step

if TYPE_CHECKING:
    from awaitpy._catching import catching
    from awaitpy._converter import make_converter
    from awaitpy._current import CurrentStep, current_step
    from awaitpy._http import HookAnswer, answer
    from awaitpy._race import Winner
    from awaitpy._request import HookRequest, MalformedBody
    from awaitpy.webhooks import SignatureRefused

__all__ = [
    "AwaitpyError",
    "Cancelled",
    "CurrentStep",
    "DuplicateStepKey",
    "Entry",
    "Err",
    "Event",
    "Hook",
    "HookAlreadyResolved",
    "HookAnswer",
    "HookError",
    "HookExpired",
    "HookRejected",
    "HookRequest",
    "HookTimeout",
    "InvalidPayload",
    "JournalError",
    "MalformedBody",
    "MethodNotAllowed",
    "NotUndone",
    "Ok",
    "Outcome",
    "PayloadMisfit",
    "PendingHook",
    "PendingRecord",
    "PendingTimer",
    "Refusal",
    "Result",
    "ResumeState",
    "Retry",
    "RunError",
    "RunFinished",
    "Runner",
    "SignatureRefused",
    "StateError",
    "Step",
    "StepInterrupted",
    "StepMisuse",
    "StepTimeout",
    "SuspensionSwallowed",
    "TimerRecord",
    "UndoFailed",
    "UnexpectedError",
    "UnknownHook",
    "UnknownStep",
    "UnreadableEntry",
    "VersionMismatch",
    "Winner",
    "Won",
    "WorkflowDrift",
    "WorkflowMismatch",
    "answer",
    "append_entries",
    "cancel",
    "catching",
    "create_hook",
    "current_step",
    "first_of",
    "forget",
    "get_pending_hooks",
    "has_pending_hook",
    "inject_hook",
    "is_err",
    "is_ok",
    "is_pending_hook",
    "make_converter",
    "next_wakeup",
    "pending_hook",
    "pending_timer",
    "resume",
    "rewind",
    "run",
    "workflow",
]


# What most programs never need and would make every start slower: imported when first asked for.
_LATER = {
    "HookAnswer": "awaitpy._http",
    "HookRequest": "awaitpy._request",
    "MalformedBody": "awaitpy._request",
    "SignatureRefused": "awaitpy.webhooks",
    "Winner": "awaitpy._race",
    "CurrentStep": "awaitpy._current",
    "answer": "awaitpy._http",
    "catching": "awaitpy._catching",
    "current_step": "awaitpy._current",
    "make_converter": "awaitpy._converter",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'awaitpy' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(_LATER[name]), name)

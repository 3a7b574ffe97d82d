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
    InvalidPayload,
    JournalError,
    MethodNotAllowed,
    PendingHook,
    PendingTimer,
    RunFinished,
    StateError,
    StepMisuse,
    SuspensionSwallowed,
    UnexpectedError,
    UnknownHook,
    UnknownStep,
)
from awaitpy.events import Event
from awaitpy.result import Err, Ok, Result, is_err, is_ok
from awaitpy.typing import Step

if TYPE_CHECKING:
    from awaitpy._catching import catching
    from awaitpy._converter import make_converter
    from awaitpy._current import CurrentStep, current_step
    from awaitpy._dryrun import Check, check
    from awaitpy._ends import (
        HookRejected,
        HookTimeout,
        MigrationGap,
        PayloadMisfit,
        RunError,
        UnreadableEntry,
        VersionMismatch,
        WorkflowDrift,
        WorkflowMismatch,
    )
    from awaitpy._http import HookAnswer, answer
    from awaitpy._migrations import (
        MigrationFailed,
        change_argument,
        change_payload,
        drop_step,
        migrate,
        rename_scope,
        rename_step,
    )
    from awaitpy._policy_errors import Cancelled, NotUndone, StepInterrupted, StepTimeout, UndoFailed
    from awaitpy._race import Winner
    from awaitpy._request import HookRequest, MalformedBody
    from awaitpy._retry import Retry
    from awaitpy.webhooks import SignatureRefused

__all__ = [
    "AwaitpyError",
    "Cancelled",
    "Check",
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
    "MigrationFailed",
    "MigrationGap",
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
    "change_argument",
    "change_payload",
    "check",
    "create_hook",
    "current_step",
    "drop_step",
    "first_of",
    "forget",
    "get_pending_hooks",
    "has_pending_hook",
    "inject_hook",
    "is_err",
    "is_ok",
    "is_pending_hook",
    "make_converter",
    "migrate",
    "next_wakeup",
    "pending_hook",
    "pending_timer",
    "rename_scope",
    "rename_step",
    "resume",
    "rewind",
    "run",
    "workflow",
]


# What most programs never need and would make every start slower: imported when first asked for.
_LATER = {
    "Cancelled": "awaitpy._policy_errors",
    "Check": "awaitpy._dryrun",
    "CurrentStep": "awaitpy._current",
    "HookAnswer": "awaitpy._http",
    "HookRejected": "awaitpy._ends",
    "HookTimeout": "awaitpy._ends",
    "HookRequest": "awaitpy._request",
    "MalformedBody": "awaitpy._request",
    "MigrationFailed": "awaitpy._migrations",
    "MigrationGap": "awaitpy._ends",
    "NotUndone": "awaitpy._policy_errors",
    "PayloadMisfit": "awaitpy._ends",
    "Retry": "awaitpy._retry",
    "RunError": "awaitpy._ends",
    "SignatureRefused": "awaitpy.webhooks",
    "StepInterrupted": "awaitpy._policy_errors",
    "StepTimeout": "awaitpy._policy_errors",
    "UndoFailed": "awaitpy._policy_errors",
    "UnreadableEntry": "awaitpy._ends",
    "VersionMismatch": "awaitpy._ends",
    "Winner": "awaitpy._race",
    "WorkflowDrift": "awaitpy._ends",
    "WorkflowMismatch": "awaitpy._ends",
    "answer": "awaitpy._http",
    "catching": "awaitpy._catching",
    "change_argument": "awaitpy._migrations",
    "change_payload": "awaitpy._migrations",
    "check": "awaitpy._dryrun",
    "current_step": "awaitpy._current",
    "drop_step": "awaitpy._migrations",
    "make_converter": "awaitpy._converter",
    "migrate": "awaitpy._migrations",
    "rename_scope": "awaitpy._migrations",
    "rename_step": "awaitpy._migrations",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'awaitpy' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(_LATER[name]), name)

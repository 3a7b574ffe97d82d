"""What a durable run refuses, besides what its store does."""

from __future__ import annotations

from awaitpy.errors import AwaitpyError, UnknownHook


class UnknownRun(AwaitpyError):
    """The store has no run of this id."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"The store has no run {run_id!r}: it was never started there, or was deleted or purged."
        )


class RunExists(AwaitpyError):
    """The id is that of another run."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"The store has a run {run_id!r} already. Give the new one an id of its own.")


class UnknownWorkflow(AwaitpyError):
    """This `Durable` was not given the workflow: nothing was run or written."""

    def __init__(self, workflow: str) -> None:
        self.workflow = workflow
        super().__init__(
            f"Workflow {workflow!r} is not among those of this Durable, which could not recover its "
            "runs: add it to workflows=[...]. If it was renamed, keep its name with "
            f"@workflow(name={workflow!r})."
        )


class DurableClosed(AwaitpyError):
    """The `Durable` was closed, or not opened: use it inside its `async with`."""

    def __init__(self) -> None:
        super().__init__(
            "This Durable is not open. Use it inside `async with Durable(...)`; runs that were under way "
            "when it was closed are taken up by the next process that serves."
        )


class UnknownStoredHook(UnknownHook):
    """No run of the store has a hook of this id."""

    def __init__(self, hook_id: str) -> None:
        super().__init__(hook_id, "")
        problem = f"No run of this store has a hook {hook_id!r}."
        self.args = (f"{problem} Check the id, and that its run was not deleted.",)


class LegCancelled(AwaitpyError):
    """A leg of the run was cancelled by its own code, and not by awaitpy; its `__cause__` says where."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(
            f"Run {run_id!r} was cancelled from within: code of a step or of the workflow cancelled the "
            "task that it runs in. It counts as a failed try. Cancel only tasks that the code has made, "
            "and limit the time of a step by step.options(timeout=...)."
        )


class RunInterrupted(AwaitpyError):
    """An unexpected error ended the last leg of the run, in this process or another.

    `trouble` is its traceback as text. The run is tried again when it is due; without a due time it
    waits for `Durable.resume` or `Durable.rewind`.
    """

    def __init__(self, run_id: str, trouble: str) -> None:
        self.run_id, self.trouble = run_id, trouble
        lines = trouble.strip().splitlines()
        super().__init__(
            f"Run {run_id!r} is interrupted: {lines[-1] if lines else 'by an unknown error'}. When its "
            "cause is mended, durable.resume(run_id) tries it again; its record has the traceback."
        )

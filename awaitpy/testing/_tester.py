"""A run under test: a test drives its legs, and its state goes through bytes and JSON between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypedDict, TypeVar, Unpack

from awaitpy import (
    Entry,
    Event,
    HookAnswer,
    HookError,
    HookRequest,
    MethodNotAllowed,
    Outcome,
    PendingRecord,
    Result,
    ResumeState,
    RunError,
    Runner,
    Step,
    TimerRecord,
    answer,
    inject_hook,
    next_wakeup,
)
from awaitpy.instrumentation import fan_out
from awaitpy.testing._clock import FakeClock
from awaitpy.testing._find import find_hook

if TYPE_CHECKING:
    from cattrs import Converter

    from awaitpy._request import Headers, Verifier

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E")


class RunnerOptions(TypedDict, total=False):
    """The settings that a tester hands on to its `Runner`, where they are described."""

    checkpoint: Callable[[Entry], Awaitable[None] | None] | None
    run_id: str | None
    version: int | None
    retired: Collection[str]
    converter: Converter | None
    hold: timedelta | float
    entropy: Callable[[int], bytes]


class WorkflowTester(Generic[P, T, E]):
    """One run of a workflow, which a test starts, answers and lets time pass for.

    Between any two legs the state becomes bytes or JSON, by turns, as it would between two
    processes. `clock` is a `FakeClock`, which short sleeps and delays move; `state` goes on from a
    state that there is already; the other options are those of `Runner`. Random bytes are the same in
    each test, unless `entropy` gives others.
    """

    def __init__(
        self,
        workflow: Callable[Concatenate[Step[E], P], Coroutine[Any, Any, T]],
        /,
        *,
        clock: FakeClock | None = None,
        state: ResumeState | None = None,
        on_event: Callable[[Event], None] | None = None,
        **options: Unpack[RunnerOptions],
    ) -> None:
        self.clock = FakeClock() if clock is None else clock
        self._workflow = workflow
        self._state = state
        self._outcome: Outcome[T, E] | None = None
        watch = self._watch if on_event is None else fan_out(self._watch, on_event)
        options.setdefault("entropy", Random(0).randbytes)  # noqa: S311  no secret: the same each time
        self._runner = Runner(clock=self.clock, sleep=self._sleep, on_event=watch, **options)
        self._started: Counter[str] = Counter()
        self._waits: set[str] = set()
        self._as_json = False

    # --- what a test looks at ---------------------------------------------------------------

    @property
    def state(self) -> ResumeState:
        """The state after the last leg or injection. AssertionError before there is one."""
        if self._state is None:
            raise AssertionError("The run has not begun: `await tester.start(...)` first.")
        return self._state

    @property
    def outcome(self) -> Outcome[T, E]:
        """What the last leg gave. AssertionError before the first."""
        if self._outcome is None:
            raise AssertionError("No leg has run: `await tester.start(...)` or `resume()` first.")
        return self._outcome

    @property
    def result(self) -> Result[T, E | RunError]:
        """The result of the last leg: `Err(PendingHook)` while the run waits."""
        return self.outcome.result

    @property
    def pending(self) -> tuple[PendingRecord, ...]:
        """The waits of the run, in the order in which it came to them."""
        return self.state.pending

    @property
    def timers(self) -> tuple[TimerRecord, ...]:
        """The steps that sleep or are tried again later, in the order in which the run came to them."""
        return self.state.timers

    @property
    def waiting(self) -> PendingRecord:
        """The only wait of the run. AssertionError if there is none, or several."""
        only = self._find(None)
        return next(record for record in self.pending if record.hook_id == only)

    @property
    def calls(self) -> Counter[str]:
        """How often the function of each step really ran, by step key; 0 for one that never did."""
        return Counter({k: n for k, n in self._started.items() if k not in self._waits})

    def hook_id(self, key: str) -> str:
        """The id of the hook that the step `key` created or waits for, for a callback URL."""
        return self._find(key)

    # --- what a test does -------------------------------------------------------------------

    async def start(self, *args: P.args, **kwargs: P.kwargs) -> Outcome[T, E]:
        """Begin the run and let it go to its first wait or its end.

        Raises what `Runner.run` raises; AssertionError if there is a state already.
        """
        if self._state is not None:
            raise AssertionError("The run has begun already: make a tester for each run.")
        self._state = self._runner.start(self._workflow, *args, **kwargs)
        return await self.resume()

    async def resume(self) -> Outcome[T, E]:
        """Run one leg over the state, as another process would."""
        state = self._carried(self.state)
        self._outcome = await self._runner.resume(self._workflow, state)
        self._state = self._outcome.state
        self._waits.update(record.step_key for record in self.pending)
        self._waits.update(record.step_key for record in self.timers if not record.attempts)
        return self._outcome

    def inject(
        self,
        value: Any,
        *,
        to: str | None = None,
        payload: Any = None,
        delivery_id: str | None = None,
        method: str | None = None,
    ) -> ResumeState:
        """Give a hook its value and run nothing: what a sender does while no process is up.

        `to` is the id of the hook, or the key of the step that created it or waits for it; without
        it, the only hook that the run waits for. Raises a `HookError` as `inject_hook` does.
        """
        self._state = inject_hook(
            self._carried(self.state),
            self._find(to),
            value,
            payload=payload,
            delivery_id=delivery_id,
            now=self.clock.now,
            method=method,
        )
        return self._state

    async def deliver(
        self,
        value: Any,
        *,
        to: str | None = None,
        payload: Any = None,
        delivery_id: str | None = None,
        method: str | None = None,
    ) -> HookAnswer:
        """Give a hook its value as `inject` does, resume, and tell what the sender is answered."""
        try:
            self.inject(value, to=to, payload=payload, delivery_id=delivery_id, method=method)
        except HookError as refused:
            return answer(refused)
        return answer(await self.resume())

    async def send(
        self,
        body: bytes,
        *,
        to: str | None = None,
        payload: Any = None,
        method: str = "POST",
        query: str = "",
        headers: Headers = (),
        signed_by: Verifier | None = None,
    ) -> HookAnswer:
        """Send raw bytes to a hook as a route would get them, and tell what it answers.

        The workflow gets the JSON of the body, or the whole request if `payload` is `HookRequest`.
        """
        hook_id = self._find(to)
        try:
            self._check_method(hook_id, method.upper())
            request = HookRequest.of(
                method=method,
                path=f"/hooks/{hook_id}",
                query=query,
                headers=headers,
                body=body,
                received_at=self.clock.now,
                signed_by=signed_by,
            )
            value, delivery_id = _content(request, whole=payload is HookRequest)
        except HookError as refused:
            return answer(refused)
        return await self.deliver(value, to=hook_id, payload=payload, delivery_id=delivery_id)

    async def advance(self, by: timedelta | float) -> Outcome[T, E]:
        """Let time pass, and resume the run whenever it is due on the way, as a scheduler would."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        until = self.clock.now + step
        while (due := next_wakeup(self.state)) is not None and due <= until:
            self.clock.move_to(max(due, self.clock.now))
            before = self.state
            if (await self.resume()).state == before:
                break  # it stays due: a step fails, or its code has drifted
        self.clock.move_to(until)
        return self.outcome

    async def wake(self) -> Outcome[T, E]:
        """Let time pass until the run is due, and resume it. AssertionError if it never is."""
        due = next_wakeup(self.state)
        if due is None:
            raise AssertionError(f"The run ({self.state.status}) is never due: it waits for no time.")
        self.clock.move_to(max(due, self.clock.now))
        return await self.resume()

    # --- behind it --------------------------------------------------------------------------

    def _find(self, to: str | None) -> str:
        try:
            return find_hook(self.state, to)
        except AssertionError as error:
            if self._outcome is not None:
                error.add_note(f"Its last leg gave {self._outcome.result!r}.")
            raise

    def _carried(self, state: ResumeState) -> ResumeState:
        self._as_json = not self._as_json
        if self._as_json:
            return ResumeState.from_json(state.to_json())
        return ResumeState.from_bytes(state.to_bytes())

    async def _sleep(self, seconds: float) -> None:
        """Let a short delay pass at once; others get their turn meanwhile."""
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def _watch(self, event: Event) -> None:
        if event.key is not None and event.name == "step.started":
            self._started[event.key] += 1
        elif event.key is not None and event.name.startswith("hook."):
            self._waits.add(event.key)

    def _check_method(self, hook_id: str, method: str) -> None:
        """Refuse the method before anybody reads the body."""
        for record in self.pending:
            if record.hook_id == hook_id and method not in (record.methods or (method,)):
                raise MethodNotAllowed(hook_id, method, record.methods or ())


def _content(request: HookRequest, *, whole: bool) -> tuple[Any, str | None]:
    """Give what the workflow gets of a request, and the id by which it is known again."""
    if whole:
        return request, request.idempotency_key
    return request.json(), request.delivery_id

"""What a test can do with a run, and see of it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial

import attrs
import pytest

from awaitpy import (
    Err,
    HookAlreadyResolved,
    HookRequest,
    Ok,
    PendingHook,
    ResumeState,
    Retry,
    UnexpectedError,
    create_hook,
    current_step,
    first_of,
    pending_hook,
)
from awaitpy.testing import FakeClock, WorkflowTester
from awaitpy.webhooks import StandardWebhooks

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def greet(name: str) -> str:
    return f"hello {name}"


async def greeting(step, name: str = "Ada") -> str:
    hello = await step("greet", greet, name)
    hook = await step("hook", create_hook)
    reply = await step("reply", pending_hook, hook.hook_id, str)
    return f"{hello}: {reply}"


async def two_questions(step) -> list[str]:
    hooks = [await step(name, create_hook) for name in ("first", "second")]
    waits = [pending_hook(hook.hook_id, str) for hook in hooks]
    won = await step("either", first_of, *waits)
    return [won.value]


async def reminders(step) -> int:
    """Waits an hour for an answer, three times over."""
    for number in range(3):
        hook = await step(f"hook-{number}", create_hook)
        answer = await step.attempt(f"wait-{number}", pending_hook, hook.hook_id, str, timeout=HOUR)
        if answer == Ok("stop"):
            return number
        await step(f"remind-{number}", greet, "you")
    return 3


@pytest.fixture
async def greeted():
    tester = WorkflowTester(greeting)
    await tester.start("Grace")
    return tester


# --- from start to end --------------------------------------------------------------------------


async def test_a_run_goes_to_its_wait_and_on_from_there():
    tester = WorkflowTester(greeting)
    outcome = await tester.start("Grace")
    assert outcome is tester.outcome
    assert tester.result == outcome.result
    assert tester.waiting.step_key == "reply"
    assert tester.pending == (tester.waiting,)

    told = await tester.deliver("good day")
    assert (told.status, told.body) == (200, {"status": "completed"})
    assert tester.result == Ok("hello Grace: good day")
    assert tester.pending == ()


async def test_a_run_without_a_wait_ends_at_once():
    async def instant(step) -> str:
        return await step("greet", greet, "you")

    tester = WorkflowTester(instant)
    assert (await tester.start()).result == Ok("hello you")


async def test_arguments_may_be_named_or_left_out():
    tester = WorkflowTester(greeting)
    await tester.start(name="Alan")
    await tester.deliver("yes")
    assert tester.result == Ok("hello Alan: yes")
    tester = WorkflowTester(greeting)
    await tester.start()
    await tester.deliver("yes")
    assert tester.result == Ok("hello Ada: yes")


async def test_nothing_can_be_seen_of_a_run_that_has_not_begun():
    tester = WorkflowTester(greeting)
    for look in (lambda: tester.state, lambda: tester.pending, lambda: tester.waiting):
        with pytest.raises(AssertionError, match=r"await tester\.start"):
            look()
    with pytest.raises(AssertionError, match="No leg has run"):
        print(tester.result)
    assert tester.calls == {}


async def test_a_run_begins_once(greeted):
    with pytest.raises(AssertionError, match="make a tester for each run"):
        await greeted.start("Ada")


async def test_a_tester_goes_on_from_a_state_that_there_is_already(greeted):
    later = WorkflowTester(greeting, state=greeted.state)
    assert later.waiting == greeted.waiting
    await later.deliver("good day")
    assert later.result == Ok("hello Grace: good day")
    assert later.calls == {}
    assert greeted.state.status == "suspended"


async def test_the_settings_of_a_runner_are_those_of_a_tester():
    entries, events = [], []
    tester = WorkflowTester(
        greeting, run_id="run-1", version=3, checkpoint=entries.append, on_event=events.append
    )
    await tester.start("Ada")
    assert (tester.state.run_id, tester.state.version) == ("run-1", 3)
    assert [entry.key for entry in entries] == ["greet", "hook"]
    assert "run.suspended" in [event.name for event in events]


# --- between two legs ---------------------------------------------------------------------------


async def test_the_state_becomes_bytes_and_json_by_turns(monkeypatch):
    """Nothing that the code holds in memory is in the next leg, and both formats have been used."""
    read = []
    from_bytes, from_json = ResumeState.from_bytes, ResumeState.from_json
    monkeypatch.setattr(ResumeState, "from_bytes", lambda data: read.append("bytes") or from_bytes(data))
    monkeypatch.setattr(ResumeState, "from_json", lambda text: read.append("json") or from_json(text))
    tester = WorkflowTester(greeting)
    await tester.start()
    await tester.deliver("yes")
    await tester.resume()
    # The reader of JSON hands on to that of bytes.
    turns = [kind for kind, after in itertools.pairwise([*read, None]) if kind != after]
    assert read.count("json") == 2
    assert turns == ["json", "bytes", "json", "bytes"]


@attrs.frozen
class Box:
    content: str


async def test_a_replayed_value_is_restored_and_not_the_object_that_the_step_gave():
    made = Box("tea")
    seen = []

    def make() -> Box:
        return made

    async def boxes(step) -> str:
        box = await step("make", make)
        seen.append(box)
        hook = await step("hook", create_hook)
        await step("wait", pending_hook, hook.hook_id)
        return box.content

    tester = WorkflowTester(boxes)
    await tester.start()
    await tester.deliver("go on")
    assert seen == [made, made]
    assert seen[1] is not made


# --- which hook is meant ------------------------------------------------------------------------


async def test_a_hook_is_known_by_its_id_by_who_created_it_and_by_who_waits_for_it(greeted):
    hook_id = greeted.waiting.hook_id
    assert greeted.hook_id("hook") == greeted.hook_id("reply") == hook_id
    assert greeted.hook_id(hook_id) == hook_id
    for to in (hook_id, "hook", "reply"):
        other = WorkflowTester(greeting, state=greeted.state)
        assert (await other.deliver("yes", to=to)).status == 200


async def test_a_hook_is_found_after_its_answer_too(greeted):
    hook_id = greeted.waiting.hook_id
    await greeted.deliver("yes")
    assert greeted.hook_id("hook") == greeted.hook_id("reply") == hook_id
    assert (await greeted.deliver("no", to="reply")).status == 409


async def test_a_hook_that_never_was_is_answered_as_in_real_life(greeted):
    assert (await greeted.deliver("yes", to="nobody")).status == 404
    assert (await greeted.deliver("yes", to="greet")).status == 404


async def test_of_several_waits_one_has_to_be_named():
    tester = WorkflowTester(two_questions)
    await tester.start()
    expected = r"waits for 2 hooks, not for one: say which by to=, of 'first', 'second'\."
    with pytest.raises(AssertionError, match=expected):
        await tester.deliver("yes")
    with pytest.raises(AssertionError, match=expected):
        print(tester.waiting)
    assert [record.step_key for record in tester.pending] == ["either", "either"]
    await tester.deliver("yes", to="second")
    assert tester.result == Ok(["yes"])


async def test_hooks_of_the_workflows_caller_are_named_by_their_ids():
    async def wait_for(step, hook_id: str, other: str) -> str:
        won = await step("either", first_of, pending_hook(hook_id, str), pending_hook(other, str))
        return won.value

    tester = WorkflowTester(wait_for)
    await tester.start("hook-a", "hook-b")
    with pytest.raises(AssertionError, match="of 'hook-a', 'hook-b'"):
        await tester.deliver("yes")


async def test_where_no_wait_is_left_the_failure_tells_how_the_run_ended(greeted):
    await greeted.deliver("yes")
    with pytest.raises(AssertionError, match=r"\(completed\) waits for 0 hooks") as failure:
        await greeted.deliver("again")
    assert failure.value.__notes__ == ["Its last leg gave Ok(value='hello Grace: yes')."]
    finished = WorkflowTester(greeting, state=greeted.state)
    with pytest.raises(AssertionError) as failure:
        print(finished.waiting)
    assert not hasattr(failure.value, "__notes__")


# --- deliveries ---------------------------------------------------------------------------------


async def test_a_refusal_is_answered_and_leaves_the_state_as_it_was(greeted):
    before = greeted.state
    told = await greeted.deliver(5, payload=str)
    assert (told.status, told.body["status"]) == (400, "invalid-payload")
    assert greeted.state is before
    assert (await greeted.deliver(5)).status == 400
    assert greeted.waiting.step_key == "reply"


async def test_an_injection_runs_nothing_and_raises_what_it_is_refused_for(greeted):
    state = greeted.inject("yes", delivery_id="d1")
    assert state is greeted.state
    assert isinstance(greeted.result.unwrap_err(), PendingHook)
    with pytest.raises(HookAlreadyResolved):
        greeted.inject("no", to="hook", delivery_id="d2")
    assert (await greeted.resume()).result == Ok("hello Grace: yes")


async def test_a_delivery_comes_at_the_time_of_the_clock():
    begun = datetime(2031, 5, 1, tzinfo=UTC)
    tester = WorkflowTester(reminders, clock=FakeClock(begun))
    await tester.start()
    assert tester.waiting.since == begun
    assert tester.waiting.deadline == begun + HOUR
    tester.clock.advance(HOUR)
    assert (await tester.deliver("stop")).status == 410


async def posted(step) -> list[str | None]:
    hook = await step("hook", create_hook)
    sent = await step("wait", pending_hook, hook.hook_id, HookRequest, methods=["POST", "PUT"])
    return [sent.method, sent.path, sent.query_param("q"), sent.header("x-one"), sent.text()]


async def test_a_whole_request_reaches_the_workflow():
    tester = WorkflowTester(posted)
    await tester.start()
    hook_id = tester.waiting.hook_id
    sent = partial(
        tester.send, b"body", payload=HookRequest, query="q=5", headers={"X-One": "1"}, to="hook"
    )
    told = await sent(method="delete")
    assert (told.status, told.headers["allow"]) == (405, "POST, PUT")
    assert (await sent(method="put")).status == 200
    assert tester.result == Ok(["PUT", f"/hooks/{hook_id}", "5", "1", "body"])
    tester.clock.advance(HOUR)
    assert (await sent(method="put")).status == 200, "the same request later is the same delivery"
    assert (await sent(method="post")).status == 409


async def test_a_body_is_read_as_json(greeted):
    told = await greeted.send(b'"good')
    assert (told.status, told.body["status"]) == (400, "invalid-payload")
    assert greeted.waiting.step_key == "reply"
    assert (await greeted.send(b'"good day"')).status == 200
    assert greeted.result == Ok("hello Grace: good day")


async def test_a_signed_body_is_verified_at_the_time_of_the_clock(greeted):
    scheme = StandardWebhooks("whsec_c2VjcmV0")
    headers = scheme.sign(b'"yes"', webhook_id="msg-1", now=greeted.clock.now)
    assert (await greeted.send(b'"no"', headers=headers, signed_by=scheme)).status == 401
    greeted.clock.advance(HOUR)
    assert (await greeted.send(b'"yes"', headers=headers, signed_by=scheme)).status == 401
    headers = scheme.sign(b'"yes"', webhook_id="msg-1", now=greeted.clock.now)
    assert (await greeted.send(b'"yes"', headers=headers, signed_by=scheme)).status == 200
    assert greeted.state.steps["reply"].delivery_id == "msg-1"


# --- time ---------------------------------------------------------------------------------------


async def test_a_day_passes_in_one_call_and_the_run_is_resumed_whenever_it_is_due():
    tester = WorkflowTester(reminders)
    begun = tester.clock.now
    await tester.start()
    outcome = await tester.advance(DAY)
    assert outcome.result == Ok(3)
    assert tester.clock.now == begun + DAY
    assert [tester.calls[f"remind-{number}"] for number in range(3)] == [1, 1, 1]
    deadlines = [tester.state.steps[f"wait-{number}"].payload for number in range(3)]
    assert len({bytes(deadline) for deadline in deadlines}) == 3, "each wait was an hour of its own"


async def test_no_more_happens_than_is_due():
    tester = WorkflowTester(reminders)
    await tester.start()
    await tester.advance(HOUR + HOUR / 2)
    assert tester.waiting.step_key == "wait-1"
    await tester.advance(60)
    assert tester.waiting.step_key == "wait-1"
    await tester.deliver("stop")
    assert tester.result == Ok(1)


async def test_a_delivery_that_no_run_has_taken_is_due_at_once(greeted):
    greeted.inject("yes")
    await greeted.advance(0)
    assert greeted.result == Ok("hello Grace: yes")


async def test_time_goes_on_though_a_run_stays_due_because_its_code_is_broken():
    tester = WorkflowTester(reminders)
    begun = tester.clock.now
    await tester.start()

    async def broken(step) -> int:
        raise ConnectionError

    broken.__qualname__ = reminders.__qualname__
    again = WorkflowTester(broken, state=tester.state, clock=tester.clock)
    outcome = await again.advance(DAY)
    assert isinstance(outcome.result.unwrap_err(), UnexpectedError)
    assert again.clock.now == begun + DAY


async def test_nothing_is_due_for_a_run_that_waits_without_a_deadline(greeted):
    before = greeted.outcome
    assert await greeted.advance(1000 * DAY) is before


def flaky(step, delay: float, name: str = "fetch"):
    def fetch() -> int:
        if current_step().attempt < 3:
            raise ConnectionError("down")
        return current_step().attempt

    return step.options(retry=Retry(delay=delay, backoff=1))(name, fetch)


async def test_short_delays_and_sleeps_pass_at_once_and_move_the_clock():
    async def flow(step) -> int:
        await step.sleep("nap", 5)
        return await flaky(step, 2)

    tester = WorkflowTester(flow)
    begun = tester.clock.now
    assert (await tester.start()).result == Ok(3)
    assert tester.clock.now == begun + timedelta(seconds=9)
    assert tester.calls["fetch"] == 3


async def test_longer_ones_are_timers_that_time_passes_for():
    async def flow(step) -> int:
        await step.sleep("night", HOUR)
        return await flaky(step, 3600)

    tester = WorkflowTester(flow)
    await tester.start()
    assert [timer.step_key for timer in tester.timers] == ["night"]
    await tester.wake()
    assert [(timer.step_key, timer.attempts) for timer in tester.timers] == [("fetch", 1)]
    assert (await tester.advance(DAY)).result == Ok(3)
    assert tester.calls == {"fetch": 3}
    with pytest.raises(AssertionError, match="never due"):
        await tester.wake()


async def test_what_is_short_is_a_setting():
    async def flow(step) -> None:
        await step.sleep("night", HOUR)

    assert (await WorkflowTester(flow, hold=HOUR).start()).result == Ok(None)


async def test_random_things_are_the_same_in_each_test_unless_others_are_asked_for():
    async def flow(step) -> list[str]:
        return [str(await step.uuid("id")), str(await step.random("number"))]

    results = [(await WorkflowTester(flow).start()).result for _ in range(2)]
    assert results[0] == results[1]
    zeros = (await WorkflowTester(flow, entropy=bytes).start()).result
    assert zeros == Ok(["00000000-0000-4000-8000-000000000000", "0.0"])


# --- what really ran ----------------------------------------------------------------------------


async def test_real_executions_are_counted_and_replays_and_waits_are_not(greeted):
    assert greeted.calls == {"greet": 1, "hook": 1}
    for _ in range(3):
        await greeted.resume()
    await greeted.deliver("yes")
    await greeted.resume()
    assert greeted.calls == {"greet": 1, "hook": 1}
    assert greeted.calls["never"] == 0


async def test_a_step_that_failed_and_ran_again_counts_twice():
    fails = iter([ConnectionError("down")])

    def fetch() -> str:
        for error in fails:
            raise error
        return "fetched"

    async def fetching(step) -> str:
        return await step("fetch", fetch)

    tester = WorkflowTester(fetching)
    await tester.start()
    assert tester.state.status == "interrupted"
    assert (await tester.resume()).result == Ok("fetched")
    assert tester.calls == {"fetch": 2}


@pytest.mark.parametrize(
    ("verdict", "status"), [(Ok(None), 200), (Err("never"), 422)], ids=["taken", "refused"]
)
async def test_a_wait_that_was_answered_early_is_no_execution(verdict, status):
    fails = iter([ConnectionError("down")])

    def fetch() -> str:
        for error in fails:
            raise error
        return "fetched"

    async def early(step) -> str:
        hook = await step("hook", create_hook)
        await step("fetch", fetch)
        return await step("wait", pending_hook, hook.hook_id, str, accept=lambda _: verdict)

    tester = WorkflowTester(early)
    await tester.start()
    assert (await tester.deliver("early", to="hook")).status == status
    assert tester.calls == {"hook": 1, "fetch": 2}


def test_the_tester_needs_no_pytest():
    """Users of another test runner have it too."""
    code = "import sys, awaitpy.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

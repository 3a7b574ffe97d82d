"""`step.race`: the first to finish wins and is journaled; the others are cancelled and awaited."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from awaitpy import (
    Cancelled,
    DuplicateStepKey,
    Err,
    HookAlreadyResolved,
    Ok,
    PendingHook,
    PendingTimer,
    ResumeState,
    Retry,
    Runner,
    StateError,
    StepMisuse,
    UnexpectedError,
    UnreadableEntry,
    Winner,
    WorkflowDrift,
    append_entries,
    cancel,
    create_hook,
    forget,
    get_pending_hooks,
    inject_hook,
    next_wakeup,
    pending_hook,
    resume,
    rewind,
    run,
    workflow,
)
from tests.parallel.conftest import kinds


def read(state):
    return ResumeState.from_json(ResumeState.from_bytes(state.to_bytes()).to_json())


async def ends(flow, state, hook_id="end", runner=None):
    """Answer the last wait of a workflow, and give its value."""
    runner = runner or Runner()
    return (await runner.resume(flow, inject_hook(read(state), hook_id, None))).result.unwrap()


async def test_the_first_to_finish_wins_and_is_journaled(world):
    async def flow(step):
        won = await step.race(
            "r",
            {"slow": lambda s: s("a", world.work, "a", 9), "fast": lambda s: s("b", world.work, "b", 1)},
        )
        await step("end", pending_hook, "end")
        return won

    outcome = await run(flow)
    assert world.ran == ["b"]
    assert kinds(outcome.state) == {"r/fast/b": "value", "r": "race"}
    assert await ends(flow, outcome.state) == Winner("fast", "b")
    assert world.ran == ["b"]


async def test_of_those_that_finish_together_the_first_of_the_dict_wins(world):
    async def flow(step):
        return await step.race("r", {n: lambda s, n=n: s("s", world.quick, n) for n in "xab"})

    assert (await run(flow)).result == Ok(Winner("x", "x"))


async def test_a_winner_may_give_what_no_journal_holds(world):
    thing = object()

    async def branch(step):
        await step("a", world.quick, "a")
        return thing

    async def flow(step):
        won = await step.race("r", {"one": branch})
        await step("end", pending_hook, "end")
        return won.value is thing

    assert await ends(flow, (await run(flow)).state) is True


async def test_losers_are_cancelled_and_awaited_before_the_winner_is_given(world):
    async def cleaning(step):
        try:
            await step("stuck", world.stuck)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            world.ran.append("cleaned")

    async def flow(step):
        await step.race("r", {"a": cleaning, "b": lambda s: s("b", world.work, "b")})
        world.ran.append("given")

    outcome = await run(flow)
    assert world.ran == ["stuck", "b", "cleaned", "given"]
    assert kinds(outcome.state) == {"r/b/b": "value", "r": "race"}
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- hooks and sleeps -----------------------------------------------------------------------------


async def reminded(step):
    hook = await step("hook", create_hook)
    won = await step.race(
        "decide",
        {
            "reply": lambda s: s("wait", pending_hook, hook.hook_id, str),
            "late": lambda s: s.sleep("sleep", 3600),
        },
    )
    await step("end", pending_hook, "end")
    return won


async def test_a_hook_and_a_sleep_are_pending_together(world):
    outcome = await world.runner().run(reminded)
    assert isinstance(outcome.result.unwrap_err(), PendingHook)
    assert [record.step_key for record in outcome.state.pending] == ["decide/reply/wait"]
    assert [timer.step_key for timer in outcome.state.timers] == ["decide/late/sleep"]
    assert (next_wakeup(outcome.state) - world.now).total_seconds() == 3600


async def test_an_answer_wins_against_time_and_the_timer_is_dropped(world):
    runner = world.runner()
    state = (await runner.run(reminded)).state
    state = (await runner.resume(reminded, inject_hook(state, get_pending_hooks(state)[0], "yes"))).state
    assert state.timers == ()
    assert next_wakeup(state) is None
    world.later(hours=2)
    assert await ends(reminded, state, runner=runner) == Winner("reply", "yes")


async def test_time_wins_and_a_late_answer_is_refused(world):
    runner = world.runner()
    state = (await runner.run(reminded)).state
    hook_id = get_pending_hooks(state)[0]
    world.later(hours=1)
    state = (await runner.resume(reminded, read(state))).state
    assert get_pending_hooks(state) == ["end"]
    with pytest.raises(HookAlreadyResolved) as refused:
        inject_hook(state, hook_id, "late")
    assert refused.value.status == 409
    assert await ends(reminded, state, runner=runner) == Winner("late", None)


async def test_an_answer_that_came_in_time_wins_though_the_run_is_resumed_late(world):
    runner = world.runner()
    state = (await runner.run(reminded)).state
    state = inject_hook(state, get_pending_hooks(state)[0], "yes", now=world.now)
    world.later(hours=2)
    state = (await runner.resume(reminded, state)).state
    assert await ends(reminded, state, runner=runner) == Winner("reply", "yes")


async def test_a_race_of_sleeps_is_won_by_the_shortest(world):
    async def flow(step):
        return await step.race("r", {f"s{n}": lambda s, n=n: s.sleep("t", n * 3600) for n in (3, 1, 2)})

    runner = world.runner()
    outcome = await runner.run(flow)
    assert isinstance(outcome.result.unwrap_err(), PendingTimer)
    world.later(hours=1)
    outcome = await runner.resume(flow, outcome.state)
    assert outcome.result == Ok(Winner("s1", None))
    assert outcome.state.timers == ()


async def test_the_attempts_of_a_loser_are_dropped(world):
    def fails():
        raise OSError

    async def flow(step):
        patient = step.options(retry=Retry(delay=3600))
        won = await patient.race(
            "r", {"fails": lambda s: s("f", fails), "waits": lambda s: s("w", pending_hook, "h")}
        )
        await step("end", pending_hook, "end")
        return won

    runner = world.runner()
    state = (await runner.run(flow)).state
    assert [timer.step_key for timer in state.timers] == ["r/fails/f"]
    state = (await runner.resume(flow, inject_hook(state, "h", 1))).state
    assert state.timers == ()
    assert await ends(flow, state, runner=runner) == Winner("waits", 1)


async def test_all_hooks_of_a_loser_are_closed_but_one_for_many_deliveries(world):
    async def loser(step, box):
        made = await step("made", lambda: create_hook(new_id=lambda: "made"))
        await step("unused", lambda: create_hook(new_id=lambda: "unused"))
        await asyncio.gather(
            step("w-made", pending_hook, made.hook_id),
            step("w-named", pending_hook, "named"),
            step("w-box", pending_hook, box.hook_id),
        )

    async def flow(step):
        box = await step("box", lambda: create_hook(many=True, new_id=lambda: "box"))
        won = await step.race(
            "r", {"loser": lambda s: loser(s, box), "go": lambda s: s("w", pending_hook, "go")}
        )
        return won, await step("again", pending_hook, box.hook_id)

    state = (await run(flow)).state
    assert set(get_pending_hooks(state)) == {"made", "named", "box", "go"}
    state = (await resume(flow, inject_hook(state, "go", 1))).state
    assert get_pending_hooks(state) == ["box"]
    assert {hook_id for hook_id, (why, _) in state.closed.items() if why == "lost"} == {
        "made",
        "named",
        "unused",
    }
    assert (await resume(flow, inject_hook(state, "box", 2))).result == Ok((Winner("go", 1), 2))


async def test_a_hook_that_another_branch_waits_for_is_not_closed(world):
    async def flow(step):
        async def other():
            await step("first", world.work, "first", 8)
            return await step("own", pending_hook, "shared")

        return await asyncio.gather(
            step.race(
                "r",
                {
                    "loser": lambda s: s("w", pending_hook, "shared"),
                    "winner": lambda s: s("t", world.work, "t", 20),
                },
            ),
            other(),
        )

    state = (await run(flow)).state
    assert get_pending_hooks(state) == ["shared"]
    assert (await resume(flow, inject_hook(state, "shared", 1))).result == Ok([Winner("winner", "t"), 1])


# --- errors ---------------------------------------------------------------------------------------


async def test_an_error_of_a_branch_ends_the_run(world):
    async def flow(step):
        await step.race(
            "r", {"b": lambda s: s("b", world.work, "b"), "bad": lambda s: s("bad", lambda: Err("no"))}
        )

    outcome = await run(flow)
    assert outcome.result == Err("no")
    assert world.ran == ["b"]  # it was under way, and is not cancelled: nobody has won


@pytest.mark.parametrize("error", [ValueError("of the body"), asyncio.CancelledError()])
async def test_an_exception_of_a_branch_ends_the_run_and_no_code_catches_it(world, error):
    broken = True

    async def branch(step):
        await step("first", world.quick, "first")
        if broken:
            raise error
        return "mended"

    async def flow(step):
        try:
            return await step.race("r", {"bad": branch, "b": lambda s: s("b", world.work, "b", 9)})
        except BaseException:
            world.ran.append("caught")
            raise

    outcome = await run(flow)
    assert isinstance(outcome.result.unwrap_err(), UnexpectedError)
    assert isinstance(outcome.result.unwrap_err().cause, type(error))
    assert outcome.state.steps.keys() == {"r/bad/first", "r/b/b"}
    broken = False
    assert (await resume(flow, outcome.state)).result == Ok(Winner("bad", "mended"))
    assert world.counts["first"] == world.counts["b"] == 1


async def test_an_exception_in_the_cleanup_of_a_loser_ends_the_run(world):
    async def loser(step):
        try:
            await step("stuck", world.stuck)
        finally:
            raise OSError("cleanup")

    async def flow(step):
        await step.race("r", {"a": loser, "b": lambda s: s("b", world.work, "b")})

    outcome = await run(flow)
    assert isinstance(outcome.result.unwrap_err().cause, OSError)
    assert kinds(outcome.state) == {"r/b/b": "value"}


async def test_an_exception_of_a_winner_in_a_replay_ends_the_run(world):
    async def branch(step):
        await step("a", world.quick, "a")
        if broken:
            raise OSError

    async def flow(step):
        await step.race("r", {"a": branch})
        await step("end", pending_hook, "end")

    broken = False
    state = (await run(flow)).state
    broken = True
    assert isinstance((await resume(flow, state)).result.unwrap_err().cause, OSError)


@pytest.mark.parametrize("gives", ["value", "error", "wait", "exception"])
async def test_a_loser_that_swallows_its_cancellation_is_awaited_and_goes_no_further(world, gives):
    async def swallows():
        try:
            await world.stuck()
        except asyncio.CancelledError:
            await world.work("finished", turns=5)
        if gives == "exception":
            raise OSError
        return {"error": Err("no"), "wait": pending_hook("h"), "value": "v", "exception": None}[gives]

    async def loser(step):
        await step("swallows", swallows)
        await step("never", world.quick, "never")

    async def flow(step):
        won = await step.race("r", {"a": loser, "b": lambda s: s("b", world.work, "b")})
        await step("end", pending_hook, "end")
        return won

    state = (await asyncio.wait_for(run(flow), 10)).state
    assert world.ran == ["stuck", "b", "finished"]
    if gives == "exception":
        assert state.status == "interrupted"
        return
    assert get_pending_hooks(state) == ["end"]
    for _ in range(2):
        assert await ends(flow, state) == Winner("b", "b")
    assert world.ran == ["stuck", "b", "finished"]


@pytest.mark.parametrize("turns", range(1, 12))
async def test_a_race_beside_a_branch_that_fails_keeps_nothing_waiting(world, turns):
    async def cleaning(step):
        try:
            await step("stuck", world.stuck)
        finally:
            for _ in range(6):
                await asyncio.sleep(0)

    async def flow(step):
        await asyncio.gather(
            step.race("r", {"a": cleaning, "b": lambda s: s("b", world.work, "b", 3)}),
            step("fail", lambda: world.work(Err("no"), turns=turns)),
        )

    outcome = await asyncio.wait_for(run(flow), 10)
    assert outcome.result == Err("no")
    assert outcome.state.steps.keys() - {"r"} == {"r/b/b", "fail"}
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --- undo -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("legs", [1, 2, 3])
async def test_what_a_loser_completed_is_undone_also_after_replays(world, legs):
    async def loser(step):
        undoing = step.options(undo=lambda v: world.quick(f"undo {v}"))
        await undoing("l1", world.quick, "l1")
        await undoing("l2", world.work, "l2", 1)
        await undoing("cut", world.stuck, "cut")

    async def winner(step):
        undoing = step.options(undo=lambda v: world.quick(f"undo {v}"))
        await undoing("w", world.work, "w", 9)

    async def flow(step):
        await step.race("r", {"loser": loser, "winner": winner})
        for leg in range(1, legs):
            await step(f"leg{leg}", pending_hook, f"h{leg}")
        await step("fail", lambda: Err("no"))

    outcome = await run(flow)
    for leg in range(1, legs):
        assert not [one for one in world.ran if one.startswith("undo")]
        outcome = await resume(flow, inject_hook(read(outcome.state), f"h{leg}", None))
    assert outcome.result == Err("no")
    assert world.ran == ["l1", "l2", "cut", "w", "undo w", "undo l2", "undo l1"]


async def test_what_a_loser_completed_in_a_former_leg_is_undone_if_it_loses_in_this_one(world):
    async def loser(step):
        for i in range(4):
            await step.options(undo=lambda v: world.quick(f"undo {v}"))(f"l{i}", world.work, i)
        await step("w", pending_hook, "never")

    async def flow(step):
        await step.race("r", {"winner": lambda s: s("w", pending_hook, "h"), "loser": loser})
        await step("fail", lambda: Err("no"))

    state = (await run(flow)).state
    outcome = await resume(flow, inject_hook(state, "h", 1))
    assert outcome.result == Err("no")
    assert world.ran == [0, 1, 2, 3, "undo 3", "undo 2", "undo 1", "undo 0"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_loser_that_is_held_back_when_it_loses_is_undone_and_its_waits_are_closed(world, fails):
    async def other(step):
        for _ in range(6):
            await asyncio.sleep(0)
        await step("o", world.quick, "o")

    async def loser(step):
        await step.options(undo=lambda v: world.quick(f"undo {v}"))("l", world.work, "l", 12)
        await step("w", pending_hook, "never")

    async def flow(step):
        branches = {"winner": lambda s: s("w", pending_hook, "h"), "loser": loser}
        await asyncio.gather(other(step), step.race("r", branches))
        if fails:
            await step("fail", lambda: Err("no"))
        await step("end", pending_hook, "end")

    state = (await run(flow)).state
    assert list(state.steps) == ["o", "r/loser/l"]
    outcome = await resume(flow, inject_hook(state, "h", 1))
    assert outcome.state.closed["never"] == ("lost", "r")
    if fails:
        assert world.ran == ["o", "l", "undo l"]
    else:
        assert get_pending_hooks(outcome.state) == ["end"]
        assert get_pending_hooks((await resume(flow, outcome.state)).state) == ["end"]


async def test_a_loser_that_is_cut_off_while_its_step_is_written_is_undone(world):
    async def checkpoint(entry):
        if entry.key == "r/loser/l":
            for _ in range(20):
                await asyncio.sleep(0)

    async def loser(step):
        await step.options(undo=lambda v: world.quick(f"undo {v}"))("l", world.quick, "l")

    async def flow(step):
        await step.race("r", {"winner": lambda s: s("w", world.work, "w"), "loser": loser})
        await step("fail", lambda: Err("no"))

    outcome = await Runner(checkpoint=checkpoint).run(flow)
    assert outcome.result == Err("no")
    assert world.ran == ["l", "w", "undo l"]


async def test_children_in_a_race_are_undone_when_the_run_is_cancelled(world):
    async def booking(step, name):
        await step.options(undo=lambda v: world.quick(f"undo {v}"))("book", world.quick, name)
        await step("w", pending_hook, f"h-{name}")

    async def flow(step):
        branches = {n: lambda s, n=n: s.child("booking", booking, n) for n in ("ship", "plane")}
        await step.race("r", branches)

    state = (await run(flow)).state
    outcome = await resume(flow, cancel(read(state), "why"))
    assert outcome.result == Err(Cancelled("why"))
    assert world.ran == ["ship", "plane", "undo plane", "undo ship"]


# --- replay ---------------------------------------------------------------------------------------


async def test_losers_without_entries_do_not_run_in_a_replay(world):
    async def loser(step):
        world.ran.append("body")
        await step("stuck", world.stuck)

    async def flow(step):
        await step.race("r", {"loser": loser, "winner": lambda s: s("w", world.work, "w")})
        await step("end", pending_hook, "end")

    state = (await run(flow)).state
    await ends(flow, state)
    assert world.ran == ["body", "stuck", "w"]


async def test_a_state_made_of_the_entries_is_that_of_the_run(world):
    kept = []
    runner = world.runner(checkpoint=kept.append)
    started = runner.start(reminded)
    state = (await runner.resume(reminded, started)).state
    hook_id = get_pending_hooks(state)[0]
    state = (await runner.resume(reminded, inject_hook(state, hook_id, "yes"))).state
    again = append_entries(started, *kept)
    assert again.steps == state.steps
    assert again.closed == state.closed
    assert again.timers == state.timers == ()


async def test_a_replay_keeps_which_of_two_races_was_decided_first(world):
    ended = []

    async def racing(step, name, turns):
        await step.race(name, {"a": lambda s: s("x", world.work, name, turns)})
        ended.append(name)

    async def flow(step):
        ended.clear()
        await asyncio.gather(*(racing(step, f"r{t}", t) for t in (9, 1, 5)))
        await step("end", pending_hook, "end")

    state = (await run(flow)).state
    assert ended == ["r1", "r5", "r9"]
    await ends(flow, state)
    assert ended == ["r1", "r5", "r9"]


async def test_a_replay_gives_the_winner_after_what_was_journaled_before_it_was_known(world):
    ended = []

    async def cleaning(step):
        try:
            await step("stuck", world.stuck)
        finally:
            for _ in range(9):
                await asyncio.sleep(0)

    async def racing(step):
        await step.race("r", {"a": cleaning, "b": lambda s: s("b", world.work, "b")})
        ended.append("race")

    async def other(step):
        await step("o", world.work, "o", 6)
        ended.append("other")

    async def flow(step):
        ended.clear()
        await asyncio.gather(racing(step), other(step))
        await step("end", pending_hook, "end")

    state = (await run(flow)).state
    assert list(state.steps) == ["r/b/b", "o", "r"]
    await ends(flow, state)
    assert ended == ["other", "race"]


async def test_a_loser_that_no_longer_asks_for_its_steps_is_no_drift(world):
    branches, state = await decided(world)

    async def shorter(step):
        await asyncio.get_running_loop().create_future()

    flow = changing(world, {**branches, "loser": shorter})
    for again in (state, forget(state, "r")):
        outcome = await resume(flow, again)
        assert get_pending_hooks(outcome.state) == ["end"]
        assert await ends(flow, outcome.state) == Winner("winner", "w")


async def test_a_run_that_died_before_its_race_was_decided_decides_it_anew(world):
    kept = []

    async def flow(step):
        return await step.race(
            "r", {"a": lambda s: s("a", world.work, "a", 3), "b": lambda s: s("b", world.stuck)}
        )

    def dies(entry):
        if entry.kind_name == "race":
            raise OSError("dead")
        kept.append(entry)

    started = Runner().start(flow)
    outcome = await Runner(checkpoint=dies).resume(flow, started)
    assert isinstance(outcome.result.unwrap_err(), UnexpectedError)
    outcome = await resume(flow, append_entries(started, *kept))
    assert outcome.result == Ok(Winner("a", "a"))
    assert world.counts["a"] == 1


async def test_forgetting_a_race_decides_it_anew(world):
    runner = world.runner()
    state = (await runner.run(reminded)).state
    hook_id = get_pending_hooks(state)[0]
    world.later(hours=1)
    state = (await runner.resume(reminded, state)).state
    again = forget(forget(state, "decide"), "decide/late/sleep")
    assert hook_id in again.hooks
    outcome = await runner.resume(reminded, inject_hook(again, hook_id, "now"))
    assert await ends(reminded, outcome.state, runner=runner) == Winner("reply", "now")
    assert get_pending_hooks((await runner.resume(reminded, rewind(state, "decide/late/sleep"))).state)


# --- other code -----------------------------------------------------------------------------------


def changing(world, branches):
    @workflow(name="changing")
    async def flow(step):
        won = await step.race("r", branches)
        await step("end", pending_hook, "end")
        return won

    return flow


async def decided(world):
    async def loser(step):
        await step("l", world.quick, "l")
        await step("stuck", world.stuck)

    branches = {"loser": loser, "winner": lambda s: s("w", world.work, "w")}
    return branches, (await run(changing(world, branches))).state


async def test_a_loser_may_be_taken_out_of_the_code(world):
    branches, state = await decided(world)
    del branches["loser"]
    assert await ends(changing(world, branches), state) == Winner("winner", "w")


async def test_the_winner_may_not_be_taken_out_of_the_code(world):
    branches, state = await decided(world)
    del branches["winner"]
    error = (await resume(changing(world, branches), state)).result.unwrap_err()
    assert isinstance(error, UnreadableEntry)
    assert "won by 'winner'" in str(error)


@pytest.mark.parametrize("since", [None, 2])
async def test_a_winner_that_has_a_new_step_now_is_drift_unless_it_is_declared(world, since):
    branches, state = await decided(world)

    async def longer(step):
        await step("w", world.quick, "w")
        return await step.options(since=since)("new", world.quick, "new")

    flow = workflow(name="changing", version=2)(changing(world, {**branches, "winner": longer}))
    outcome = await resume(flow, inject_hook(state, "end", None))
    if since is None:
        assert isinstance(outcome.result.unwrap_err(), WorkflowDrift)
        assert outcome.result.unwrap_err().asked == "r/winner/new"
        assert "new" not in world.ran
    else:
        assert outcome.result == Ok(Winner("winner", "new"))


async def test_a_loser_that_has_a_new_step_now_does_not_run_it(world):
    branches, state = await decided(world)

    async def longer(step):
        await step.race("inner", {"new": lambda s: s("new", world.quick, "new")})

    async def other(step):
        try:
            await step("l", world.quick, "l")
            await asyncio.gather(*(longer(step.scope(n)) for n in "ab"))
        finally:
            world.ran.append("unwound")

    flow = changing(world, {**branches, "loser": other})
    assert await ends(flow, state) == Winner("winner", "w")
    assert "new" not in world.ran
    assert world.ran[-1] == "unwound"


async def test_a_race_where_the_journal_has_a_step_is_refused_and_the_other_way_round(world):
    @workflow(name="f")
    async def plain(step):
        await step("r", world.quick, "r")
        await step("end", pending_hook, "end")

    @workflow(name="f")
    async def racing(step):
        await step.race("r", {"a": lambda s: s("a", world.quick, "a")})
        await step("end", pending_hook, "end")

    error = (await resume(racing, (await run(plain)).state)).result.unwrap_err()
    assert "the entry is a value, which no race gives" in str(error)
    state = (await run(racing)).state
    error = (
        await resume(plain, rewind(state, "end") if "end" in state.steps else state)
    ).result.unwrap_err()
    assert isinstance(error, UnreadableEntry)


async def test_a_race_before_which_a_step_was_taken_out_is_refused_before_harm(world):
    @workflow(name="f")
    async def before(step):
        await step("gone", world.quick, "gone")
        await step("end", pending_hook, "end")

    @workflow(name="f")
    async def after(step):
        await step.race("r", {"a": lambda s: s("a", world.quick, "a")})

    error = (await resume(after, (await run(before)).state)).result.unwrap_err()
    assert isinstance(error, WorkflowDrift)
    assert (error.asked, world.ran) == ("r", ["gone"])


async def test_a_damaged_entry_is_an_error(world):
    _, state = await decided(world)
    entry = msgspec.structs.replace(state.steps["r"], payload=msgspec.Raw(b"\x01"))
    broken = msgspec.structs.replace(state, entries={**state.entries, "r": entry})
    branches, _ = await decided(world)
    error = (await resume(changing(world, branches), broken)).result.unwrap_err()
    assert isinstance(error, UnreadableEntry)
    with pytest.raises(StateError):
        append_entries(Runner().start(changing(world, branches)), entry)


# --- keys, names, misuse --------------------------------------------------------------------------


@pytest.mark.parametrize("branches", [{}, {"": print}, {"a/b": print}])
async def test_a_race_needs_branches_with_names(branches):
    async def flow(step):
        await step.race("r", branches)

    assert isinstance((await run(flow)).result.unwrap_err().cause, ValueError)


async def test_two_races_of_one_key_are_refused(world):
    async def flow(step):
        for _ in range(2):
            await step.race("r", {"a": lambda s: s("a", world.quick, "a")})

    assert isinstance((await run(flow)).result.unwrap_err().cause, DuplicateStepKey)


@pytest.mark.parametrize("key", ["", 3, "\ud800"])
async def test_a_race_needs_a_key(world, key):
    async def flow(step):
        await step.race(key, {"a": lambda s: s("a", world.quick, "a")})

    assert isinstance((await run(flow)).result.unwrap_err().cause, StepMisuse)


async def test_a_race_in_the_function_of_a_step_is_refused(world):
    async def flow(step):
        await step("outer", lambda: step.race("r", {"a": lambda s: s("a", world.quick, "a")}))

    assert isinstance((await run(flow)).result.unwrap_err().cause, StepMisuse)
    assert not world.ran


async def test_a_run_that_was_cancelled_decides_no_race(world):
    runner = world.runner()
    state = (await runner.run(reminded)).state
    state = inject_hook(state, get_pending_hooks(state)[0], "yes")
    outcome = await runner.resume(reminded, cancel(state, "enough"))
    assert outcome.result == Err(Cancelled("enough"))


async def test_a_run_that_was_cancelled_after_its_race_gives_the_winner_again(world):
    runner = world.runner()
    state = (await runner.run(reminded)).state
    state = (await runner.resume(reminded, inject_hook(state, get_pending_hooks(state)[0], "yes"))).state
    assert (await runner.resume(reminded, cancel(state, "x"))).result == Err(Cancelled("x"))


# --- within one another ---------------------------------------------------------------------------


async def test_races_and_maps_nest(world):
    async def inner(step, name):
        won = await step.race(
            "inner",
            {
                "map": lambda s: s.map("m", lambda i: pending_hook(f"{name}{i}"), range(3), limit=1),
                "never": lambda s: s("w", pending_hook, f"{name}-never"),
            },
        )
        return won.value

    async def flow(step):
        won = await asyncio.gather(
            *(
                step.scope(f"s{n}").race(
                    "outer", {"a": lambda s, n=n: inner(s, f"{n}a"), "b": lambda s, n=n: inner(s, f"{n}b")}
                )
                for n in range(2)
            )
        )
        await step("end", pending_hook, "end")
        return won

    state = (await run(flow)).state
    assert len(get_pending_hooks(state)) == 2 * 2 * 4
    for hook_id in ("0b2", "1a0", "0a1", "0b0", "1a2", "0b1", "1a1"):
        state = (await resume(flow, inject_hook(read(state), hook_id, hook_id))).state
    assert get_pending_hooks(state) == ["end"]
    assert await ends(flow, state) == [
        Winner("b", ["0b0", "0b1", "0b2"]),
        Winner("a", ["1a0", "1a1", "1a2"]),
    ]


async def test_an_inner_race_that_was_decided_in_a_loser_is_undone_too(world):
    async def loser(step):
        undoing = step.options(undo=lambda v: world.quick(f"undo {v}"))
        await undoing.race("inner", {n: lambda s, n=n: s("x", world.work, n) for n in "pq"})
        await step("stuck", world.stuck)

    async def flow(step):
        await step.race("r", {"loser": loser, "winner": lambda s: s("w", world.work, "w", 30)})
        await step("h", pending_hook, "h")
        await step("fail", lambda: Err("no"))

    state = (await run(flow)).state
    outcome = await resume(flow, inject_hook(state, "h", 1))
    assert outcome.result == Err("no")
    assert world.ran[-1] == f"undo {world.ran[0]}"


async def test_a_race_that_the_workflow_cuts_off_is_cut_off_in_each_replay(world):
    async def flow(step):
        try:
            async with asyncio.timeout(0.01):
                await step.race("r", {n: lambda s, n=n: s("x", world.stuck, n) for n in "ab"})
        except TimeoutError:
            await step("late", world.quick, "late")
        await step("end", pending_hook, "end")
        return "ok"

    state = (await run(flow)).state
    assert kinds(state) == {"r/a/x": "cut", "r/b/x": "cut", "late": "value"}
    assert await ends(flow, state) == "ok"
    assert world.ran == ["a", "b", "late"]


async def test_a_map_that_loses_begins_no_other_item(world):
    async def flow(step):
        won = await step.race(
            "r",
            {
                "map": lambda s: s.map("m", lambda i: world.work(i, 4), range(9), limit=2),
                "w": lambda s: s("w", world.work, "w", 6),
            },
        )
        await step("end", pending_hook, "end")
        return won

    state = (await run(flow)).state
    ran = list(world.ran)
    assert set(ran) <= {0, 1, 2, 3, "w"}
    assert kinds(state)["r"] == "race"
    assert await ends(flow, state) == Winner("w", "w")
    assert world.ran == ran


async def test_a_race_beside_a_branch_that_suspends_is_decided_first(world):
    """Also where a store takes its time to write who has won."""

    async def checkpoint(_):
        for _ in range(99):
            await asyncio.sleep(0)

    async def flow(step):
        return await asyncio.gather(
            step("w", pending_hook, "h"),
            step.race("r", {"a": lambda s: s("a", world.work, "a"), "b": lambda s: s("b", world.stuck)}),
        )

    state = (await Runner(checkpoint=checkpoint).run(flow)).state
    assert list(state.steps) == ["r/a/a", "r"]
    assert (await resume(flow, inject_hook(state, "h", 1))).result == Ok([1, Winner("a", "a")])


async def test_nothing_goes_on_when_the_caller_cancels(world):
    started = asyncio.Event()

    async def stuck():
        started.set()
        await world.stuck()

    async def flow(step):
        await step.race("r", {n: lambda s: s("x", stuck) for n in "ab"})

    task = asyncio.ensure_future(run(flow))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_observer_is_told_of_the_winner_once_and_of_each_replay(world):
    told = []
    runner = Runner(on_event=lambda event: told.append((event.name, event.key)))

    async def flow(step):
        await step.race("r", {"a": lambda s: s("a", world.quick, "a")})
        await step("end", pending_hook, "end")

    state = (await runner.run(flow)).state
    await ends(flow, state, runner=runner)
    assert [name for name, key in told if key == "r"] == ["race.won", "step.replayed"]


async def test_a_race_is_not_decided_after_the_run_has_failed_beside_it(world):
    cleaning = asyncio.Event()

    async def loser(step):
        try:
            await step("w", pending_hook, "h")
        finally:
            cleaning.set()
            for _ in range(5):
                await asyncio.sleep(0)

    async def fails(step):
        await cleaning.wait()
        await step("bad", lambda: Err("no"))

    async def flow(step):
        await asyncio.gather(
            step.race("r", {"wins": lambda s: s("a", world.work, "a", 1), "loses": loser}),
            fails(step),
            step("long", world.work, "long", 20),
        )

    outcome = await run(flow)
    assert outcome.result == Err("no")
    assert kinds(outcome.state) == {"r/wins/a": "value", "bad": "error", "long": "value"}

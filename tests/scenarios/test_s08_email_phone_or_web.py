"""S8: a customer confirms by email, by phone or on the web: whichever comes first."""

from __future__ import annotations

import asyncio

import attrs
import pytest

from awaitpy import HookAlreadyResolved, Ok, create_hook, first_of, get_pending_hooks, pending_hook
from awaitpy.testing import WorkflowTester

CHANNELS = ("email", "phone", "web")


@attrs.frozen
class Email:
    sender: str
    subject: str


@attrs.frozen
class Call:
    number: str
    seconds: int
    notes: list[str]


@attrs.frozen
class Form:
    session: str
    agreed: bool


CALL = {"number": "+49 30 1234", "seconds": 42, "notes": ["was asleep", "agrees"]}


def thank(sender: str) -> str:
    return f"thanked {sender}"


def file_call(call: Call) -> str:
    return f"{call.number} for {call.seconds} s: {', '.join(call.notes)}"


async def confirmation(step) -> str:
    email, phone, web = await asyncio.gather(*(step(name, create_hook) for name in CHANNELS))
    first = await step(
        "reply",
        first_of,
        pending_hook(email.hook_id, Email, metadata={"channel": "email"}),
        pending_hook(phone.hook_id, Call, metadata={"channel": "phone"}),
        pending_hook(web.hook_id, Form, metadata={"channel": "web"}),
    )
    match first.value:
        case Email(sender):
            said = await step("thank", thank, sender)
        case Call() as call:
            said = await step("file-call", file_call, call)
        case Form():
            said = "agreed" if first.value.agreed else "declined"
    archive = await step("archive", create_hook)
    await step("archived", pending_hook, archive.hook_id)
    return said


@pytest.fixture
async def asked():
    tester = WorkflowTester(confirmation)
    await tester.start()
    return tester


async def test_exactly_the_three_hooks_are_listed(asked):
    assert [wait.metadata["channel"] for wait in asked.pending] == list(CHANNELS)
    assert get_pending_hooks(asked.state) == [asked.hook_id(name) for name in CHANNELS]


async def test_the_branch_of_the_first_answer_runs_with_its_whole_payload(asked):
    assert (await asked.deliver(CALL, to="phone")).status == 202
    assert asked.calls["file-call"] == 1
    assert asked.calls["thank"] == 0
    await asked.deliver("done", to="archive")
    assert asked.result == Ok("+49 30 1234 for 42 s: was asleep, agrees")


@pytest.mark.parametrize("ran", [False, True], ids=["before any run", "after it"])
async def test_a_later_answer_on_another_channel_is_refused(asked, ran):
    asked.inject(CALL, to="phone")
    if ran:
        await asked.resume()
    before = asked.state.to_bytes()
    with pytest.raises(HookAlreadyResolved) as refused:
        asked.inject({"sender": "ada@example.com", "subject": "yes"}, to="email")
    assert refused.value.status == 409
    assert asked.state.to_bytes() == before


@pytest.mark.parametrize("payload", [Form, None], ids=["at the injection", "on resume"])
async def test_a_malformed_answer_leaves_all_three_pending(asked, payload):
    waits = asked.pending
    told = await asked.deliver({"session": "s1", "agreed": "perhaps"}, to="web", payload=payload)
    assert told.status == 400
    assert "$.agreed" in told.body["detail"]
    assert asked.pending == waits
    assert (await asked.deliver(CALL, to="phone")).status == 202
    assert asked.calls["file-call"] == 1


async def test_every_replay_agrees_on_the_winner(asked):
    await asked.deliver(CALL, to="phone")
    for _ in range(3):
        before = asked.state.to_bytes()
        await asked.resume()
        assert asked.waiting.step_key == "archived"
        assert asked.state.to_bytes() == before
    assert asked.calls == {"email": 1, "phone": 1, "web": 1, "file-call": 1, "archive": 1}

"""S9: only a webhook that is signed, and signed lately, reaches the workflow."""

from __future__ import annotations

import base64
from datetime import timedelta

import attrs
import pytest

from awaitpy import HookRequest, Ok, create_hook, pending_hook
from awaitpy.testing import WorkflowTester
from awaitpy.webhooks import StandardWebhooks, StripeWebhooks

BODY = b'{"id":"evt_1","status":"paid"}'


def secret(word):
    return "whsec_" + base64.b64encode(word.encode()).decode()


@attrs.frozen
class Scheme:
    """A way to sign, and what its headers are called."""

    make: type
    signature: str
    sign: object

    def signed(self, body, at, key="new"):
        return self.sign(self.make(secret(key)), body, at)

    def verifier(self, *keys):
        return self.make([secret(key) for key in keys or ("new",)])


STANDARD = Scheme(
    StandardWebhooks,
    "webhook-signature",
    lambda scheme, body, at: scheme.sign(body, webhook_id="evt_1", now=at),
)
STRIPE = Scheme(StripeWebhooks, "stripe-signature", lambda scheme, body, at: scheme.sign(body, now=at))
schemes = pytest.mark.parametrize("scheme", [STANDARD, STRIPE], ids=["standard", "stripe"])


@attrs.frozen
class Paid:
    id: str
    status: str


async def payment(step) -> str:
    hook = await step("hook", create_hook)
    paid = await step(hook.step_key, pending_hook, hook.hook_id, Paid)
    return await step("fulfil", "shipped {0.id}: {0.status}".format, paid)


async def whole_request(step) -> dict[str, str]:
    hook = await step("hook", create_hook)
    sent = await step(hook.step_key, pending_hook, hook.hook_id, HookRequest)
    return sent.json()


@pytest.fixture
async def waits():
    tester = WorkflowTester(payment)
    await tester.start()
    return tester


async def send(waits, scheme, headers, body=BODY, keys=(), **options):
    return await waits.send(body, headers=headers, signed_by=scheme.verifier(*keys), **options)


@schemes
async def test_a_valid_signature_is_accepted_and_the_body_still_decodes(scheme, waits):
    assert (await send(waits, scheme, scheme.signed(BODY, waits.clock.now))).status == 200
    assert waits.result == Ok("shipped evt_1: paid")


@schemes
async def test_a_workflow_can_read_the_signed_body_itself_and_never_the_signature(scheme):
    waits = WorkflowTester(whole_request)
    await waits.start()
    headers = scheme.signed(BODY, waits.clock.now)
    assert (await send(waits, scheme, headers, payload=HookRequest)).status == 200
    assert waits.result == Ok({"id": "evt_1", "status": "paid"})
    assert headers[scheme.signature] not in waits.state.to_json()


def changed_body(scheme, at):
    return scheme.signed(BODY, at), BODY.replace(b"paid", b"paie")


def wrong_secret(scheme, at):
    return scheme.signed(BODY, at, key="another"), BODY


def no_signature(scheme, at):
    headers = scheme.signed(BODY, at)
    del headers[scheme.signature]
    return headers, BODY


def no_headers(scheme, at):
    return {}, BODY


def old_timestamp(scheme, at):
    return scheme.signed(BODY, at - timedelta(minutes=6)), BODY


def malformed_base64(scheme, at):
    headers = scheme.signed(BODY, at)
    return {**headers, scheme.signature: headers[scheme.signature][:-8] + "=%%==!-_"}, BODY


def not_ascii(scheme, at):
    return {**scheme.signed(BODY, at), scheme.signature: "v1,ü\udcff"}, BODY


def huge(scheme, at):
    return {**scheme.signed(BODY, at), scheme.signature: "v1," + "A" * 1_000_000}, BODY


@schemes
@pytest.mark.parametrize(
    "forge",
    [
        changed_body,
        wrong_secret,
        no_signature,
        no_headers,
        old_timestamp,
        malformed_base64,
        not_ascii,
        huge,
    ],
)
async def test_what_is_not_provably_from_the_sender_is_a_401_and_changes_nothing(scheme, forge, waits):
    before = waits.state.to_bytes()
    headers, body = forge(scheme, waits.clock.now)
    assert (await send(waits, scheme, headers, body)).status == 401
    assert waits.state.to_bytes() == before
    assert (await send(waits, scheme, scheme.signed(BODY, waits.clock.now))).status == 200


@schemes
async def test_one_valid_signature_of_two_is_enough_while_secrets_rotate(scheme, waits):
    """The sender signs with both secrets while the receiver still has the old one only."""
    at = waits.clock.now
    new, old = scheme.signed(BODY, at), scheme.signed(BODY, at, key="old")
    if scheme is STANDARD:
        both = f"{new[scheme.signature]} {old[scheme.signature]}"
    else:
        both = f"{new[scheme.signature]},{old[scheme.signature].partition(',')[2]}"
    headers = {**new, scheme.signature: both}
    assert (await send(waits, scheme, headers, keys=["old"])).status == 200


@schemes
async def test_a_receiver_that_has_both_secrets_accepts_either(scheme, waits):
    headers = scheme.signed(BODY, waits.clock.now, key="old")
    assert (await send(waits, scheme, headers, keys=["new", "old"])).status == 200


@schemes
async def test_a_replayed_webhook_id_is_a_duplicate(scheme, waits):
    await send(waits, scheme, scheme.signed(BODY, waits.clock.now))
    before = waits.state.to_bytes()
    waits.clock.advance(60)
    again = scheme.signed(BODY, waits.clock.now)
    assert (await send(waits, scheme, again, to="hook")).status == 200
    assert waits.state.to_bytes() == before
    assert waits.calls == {"hook": 1, "fulfil": 1}

"""A request as a value: what is in it, what is redacted, what it can be read as."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awaitpy import (
    HookRequest,
    MalformedBody,
    Ok,
    ResumeState,
    create_hook,
    get_pending_hooks,
    inject_hook,
    pending_hook,
    resume,
    run,
)
from awaitpy.webhooks import SignatureRefused, StandardWebhooks

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def request(**parts):
    return HookRequest.of(**{"method": "POST", "path": "/hooks/1", "received_at": NOON, **parts})


def form(body, content_type="application/x-www-form-urlencoded"):
    return request(body=body, headers={"content-type": content_type}).form()


def problem(read):
    with pytest.raises(MalformedBody) as caught:
        read()
    assert caught.value.status == 400
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_its_parts_are_read_by_name():
    given_request = request(
        method="post",
        query="step=1&step=2&empty=&name=a%20b",
        headers={"Content-Type": "text/plain", "X-Trace": "7"},
    )
    assert given_request.method == "POST"
    assert given_request.header("CONTENT-TYPE") == "text/plain"
    assert given_request.header("accept") is None
    assert given_request.header("accept", "*/*") == "*/*"
    assert given_request.query == (("step", "1"), ("step", "2"), ("empty", ""), ("name", "a b"))
    assert given_request.query_param("step") == "1"
    assert given_request.query_param("page", "1") == "1"


def test_the_query_may_be_text_bytes_or_pairs():
    assert request(query=b"a=%C3%A9").query == request(query=[("a", "é")]).query


def test_received_at_is_an_instant_in_utc():
    in_paris = NOON.astimezone(timezone(timedelta(hours=2)))
    assert request(received_at=in_paris).received_at == NOON
    assert request(received_at=in_paris).received_at.tzinfo is UTC
    assert datetime.now(UTC) - request(received_at=None).received_at < timedelta(minutes=1)
    with pytest.raises(ValueError, match="received_at has no time zone"):
        request(received_at=NOON.replace(tzinfo=None))


SECRETS = [
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
    "X-Api-Key",
    "Webhook-Signature",
    "Stripe-Signature",
    "X-Hub-Signature-256",
    "X-Shopify-Hmac-Sha256",
    "PayPal-Transmission-Sig",
    "X-Amz-Security-Token",
]


@pytest.mark.parametrize("name", SECRETS)
def test_a_header_that_is_a_secret_is_redacted_unless_asked_for(name):
    redacted = request(headers={name: "hunter2"})
    assert redacted.header(name) == "[redacted]"
    assert request(headers={name: "hunter2"}, keep_headers=[name]).header(name) == "hunter2"


@pytest.mark.parametrize("name", ["content-type", "webhook-id", "idempotency-key", "user-agent"])
def test_a_header_that_is_no_secret_stays(name):
    assert request(headers={name: "x"}).header(name) == "x"


def test_its_repr_shows_names_and_sizes_but_no_values():
    shown = repr(
        request(
            path="/hooks/hunter2",
            query="code=hunter2",
            headers={"Authorization": "hunter2", "Host": "h"},
            body=b"hunter2",
            keep_headers=["authorization"],
            delivery_id="evt_1",
        )
    )
    assert "hunter2" not in shown
    assert shown == (
        "HookRequest(method='POST', query=[code], headers=[authorization, host], "
        "body=<7 bytes>, received_at=2024-05-01 12:00:00+00:00, delivery_id='evt_1')"
    )


def test_a_signature_is_verified_before_it_is_redacted_and_gives_the_delivery_id():
    webhooks = StandardWebhooks("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = webhooks.sign(b"{}", webhook_id="msg_1", now=NOON)
    signed = request(headers=headers, body=b"{}", signed_by=webhooks)
    assert signed.delivery_id == "msg_1"
    assert signed.header("webhook-signature") == "[redacted]"
    own = request(headers=headers, body=b"{}", signed_by=webhooks, delivery_id="own")
    assert own.delivery_id == "own"
    with pytest.raises(SignatureRefused):
        request(headers=headers, body=b"[]", signed_by=webhooks)
    late = NOON + timedelta(hours=1)
    with pytest.raises(SignatureRefused, match="older"):
        request(headers=headers, body=b"{}", signed_by=webhooks, received_at=late)


def test_the_idempotency_key_is_the_delivery_id_where_there_is_one():
    assert request(delivery_id="evt_1").idempotency_key == "evt_1"


def test_a_repeated_request_has_the_same_idempotency_key_and_another_request_has_not():
    first = request(body=b"{}", query="a=1", headers={"date": "noon"})
    again = request(body=b"{}", query="a=1", headers={"date": "one"}, received_at=None)
    assert first.idempotency_key == again.idempotency_key
    others = [request(body=b"[]", query="a=1"), request(body=b"{}"), request(path="/x", body=b"{}")]
    assert first.idempotency_key not in {other.idempotency_key for other in others}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=json_values)
def test_json_gives_what_was_sent(value):
    assert request(body=msgspec.json.encode(value)).json() == value


@given(body=st.binary())
def test_whatever_the_body_reading_it_gives_a_value_or_a_typed_refusal(body):
    one = request(body=body, headers={"content-type": "application/x-www-form-urlencoded"})
    for read in (one.json, one.text, one.form):
        with contextlib.suppress(MalformedBody):
            msgspec.msgpack.encode(read())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is not JSON: it is empty."),
        (b'{"card": 4242', "is not JSON: Input data was truncated."),
        (b"{card: 4242}", "is not JSON: JSON is malformed: object keys must be strings (byte 1)."),
        (b'"4242\xff"', "is not JSON: it is no UTF-8 at byte 4."),
        (b"[" * 100_000, "is not JSON: it is nested too deeply."),
        (
            b'{"card": NaN, "x": 4242}',
            "is not JSON: JSON is malformed: invalid character (byte 9).",
        ),
    ],
)
def test_a_body_that_is_no_json_is_refused_with_the_place_but_not_the_body(body, message):
    said = problem(request(body=body).json)
    assert said.endswith(message)
    assert "4242" not in said


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, "é".encode()),
        ("text/plain", "é".encode()),
        ("text/plain; charset=UTF-8", "é".encode()),
        ('text/plain; format=flowed; charset="iso-8859-1"', b"\xe9"),
        ("text/plain; charset=windows-1252", b"\xe9"),
    ],
)
def test_text_is_decoded_by_the_charset_of_its_content_type(content_type, body):
    headers = {} if content_type is None else {"content-type": content_type}
    assert request(body=body, headers=headers).text() == "é"


def test_text_that_is_not_of_its_charset_is_refused():
    assert "is not text: it is no utf-8 at byte 1" in problem(request(body=b"a\xff").text)


@pytest.mark.parametrize("charset", ["rot13", "idna", "zlib", "x\0y", "4242"])
def test_an_unknown_charset_is_refused(charset):
    headers = {"content-type": f"text/plain; charset={charset}"}
    said = problem(request(body=b"a", headers=headers).text)
    assert "its charset is none of utf-8," in said
    assert charset not in said


def test_a_form_gives_its_pairs_in_order():
    pairs = form(b"a=1&b=&a=%C3%A9+x", "Application/X-WWW-Form-Urlencoded; charset=utf-8")
    assert pairs == (("a", "1"), ("b", ""), ("a", "é x"))
    assert form(b"") == ()


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"a=1", "application/json", "its content-type is not that of an urlencoded form"),
        (b"a=%ff", "application/x-www-form-urlencoded", "a percent-encoded value is no UTF-8"),
        (b"a=\xc3", "application/x-www-form-urlencoded", "it is no ascii at byte 2"),
        (b"a&" * 1000, "application/x-www-form-urlencoded", "it has more than 1000 fields"),
    ],
)
def test_a_body_that_is_no_form_is_refused(body, content_type, message):
    assert message in problem(lambda: form(body, content_type))


def test_odd_bytes_in_headers_and_query_can_still_be_kept_in_a_state():
    odd = request(headers={"x-name": "a\udcff"}, query="a=%ff", path="/\udcff")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(odd), type=HookRequest) == odd


async def wait_for_a_request(step) -> HookRequest:
    hook = await step("hook", create_hook)
    return await step(hook.step_key, pending_hook, hook.hook_id, HookRequest)


parts = st.builds(
    dict,
    method=st.sampled_from(["GET", "post"]),
    path=st.text(st.characters()),
    query=st.text() | st.lists(st.tuples(st.text(st.characters()), st.text())),
    headers=st.lists(st.tuples(st.text(st.characters()), st.text(st.characters()))),
    body=st.binary(),
    received_at=st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001  # hypothesis adds the zone
        timezones=st.timezones(),
    ),
    delivery_id=st.none() | st.text(),
)


@settings(deadline=None)  # three runs, on a machine that may be busy
@given(sent=parts.map(lambda chosen: HookRequest.of(**chosen)))
def test_it_goes_through_a_state_unchanged(sent):
    state = asyncio.run(run(wait_for_a_request)).state
    state = inject_hook(state, get_pending_hooks(state)[0], sent, payload=HookRequest)
    state = ResumeState.from_json(ResumeState.from_bytes(state.to_bytes()).to_json())
    fresh = asyncio.run(resume(wait_for_a_request, state))
    replayed = asyncio.run(resume(wait_for_a_request, fresh.state))
    assert fresh.result == replayed.result == Ok(sent)
    assert type(replayed.result.value.query) is tuple
    assert replayed.result.value.received_at.tzinfo is UTC


@pytest.mark.parametrize("body", ['{"a": 1}', {"a": 1}, None, 5], ids=repr)
def test_a_body_that_is_not_bytes_is_told(body):
    with pytest.raises(
        TypeError, match=r"body= is the raw bytes of the request, not (str|dict|NoneType|int)"
    ):
        HookRequest.of(method="POST", path="/", body=body)


@pytest.mark.parametrize("body", [bytearray(b"x"), memoryview(b"x")])
def test_a_body_may_be_any_bytes(body):
    assert HookRequest.of(method="POST", path="/", body=body).body == b"x"


def test_a_secret_in_place_of_what_verifies_is_told_and_not_shown():
    with pytest.raises(TypeError, match=r"signed_by= .*StandardWebhooks\(secret\), not str") as caught:
        HookRequest.of(method="POST", path="/", signed_by="whsec_abc")
    assert "abc" not in str(caught.value)

"""Who sent this: Standard Webhooks and the Stripe form, in both directions."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awaitpy.errors import HookError
from awaitpy.webhooks import SignatureRefused, StandardWebhooks, StripeWebhooks

NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of 24 byte").decode()
BODY = b'{"id":"evt_1","status":"paid"}'
STANDARD, STRIPE = StandardWebhooks(SECRET), StripeWebhooks(SECRET)
KINDS = [pytest.param(StandardWebhooks, id="standard"), pytest.param(StripeWebhooks, id="stripe")]


def signed(webhooks, body=BODY, *, now=NOW):
    if isinstance(webhooks, StandardWebhooks):
        return webhooks.sign(body, webhook_id="msg_1", now=now)
    return webhooks.sign(body, now=now)


def refusal(webhooks, headers, body=BODY, *, now=NOW):
    with pytest.raises(SignatureRefused) as caught:
        webhooks.verify(headers, body, now=now)
    assert caught.value.status == 401
    assert isinstance(caught.value, HookError)
    return caught.value


@pytest.mark.parametrize(
    ("webhook_id", "timestamp", "body", "signature"),
    [
        (
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            '{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        ("msg_1", 1700000000, '{"name":"zoë"}', "v1,YeSrL0hM/N0WadVf0nc0nH1VokHLJObDUsE4qTEVrYs="),
    ],
)
def test_it_signs_as_the_reference_implementation_of_standard_webhooks(
    webhook_id, timestamp, body, signature
):
    assert STANDARD.sign(body.encode(), webhook_id=webhook_id, now=timestamp) == {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }


def test_it_signs_as_the_client_library_of_stripe():
    webhooks = StripeWebhooks("whsec_test_secret")
    digest = "86d195bdf7fa8d2a41b621d0367baa5f34b0c4861d35227c2012edbaf25cf1a2"
    signature = webhooks.sign(b'{"id": "evt_1", "object": "event"}', now=1700000000.9)
    assert signature == {"stripe-signature": f"t=1700000000,v1={digest}"}


def test_a_valid_standard_webhook_gives_its_id():
    assert STANDARD.verify(signed(STANDARD), BODY, now=NOW) == "msg_1"


def test_a_valid_stripe_webhook_gives_the_id_of_its_event():
    assert STRIPE.verify(signed(STRIPE), BODY, now=NOW) == "evt_1"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"id":5}', b'"\xff"', b"[" * 100_000])
def test_a_valid_stripe_webhook_without_an_event_id_gives_none(body):
    assert STRIPE.verify(signed(STRIPE, body), body, now=NOW) is None


@pytest.mark.parametrize("kind", KINDS)
def test_without_now_the_present_counts(kind):
    webhooks = kind(SECRET)
    assert webhooks.verify(signed(webhooks, now=None), BODY) in {"msg_1", "evt_1"}
    with pytest.raises(SignatureRefused, match="is older than 300 seconds"):
        webhooks.verify(signed(webhooks), BODY)


@pytest.mark.parametrize("kind", KINDS)
def test_headers_may_be_pairs_or_a_mapping_in_any_case(kind):
    webhooks = kind(SECRET)
    headers = {name.title(): value for name, value in signed(webhooks).items()}
    assert webhooks.verify(headers, BODY, now=NOW)
    assert webhooks.verify(list(headers.items()), BODY, now=NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_is_refused(kind):
    webhooks = kind(SECRET)
    assert refusal(webhooks, signed(webhooks), BODY.replace(b"paid", b"pain")).reason == "no-match"


@pytest.mark.parametrize("kind", KINDS)
def test_another_secret_is_refused(kind):
    assert refusal(kind(SECRET), signed(kind(OTHER))).reason == "no-match"


@pytest.mark.parametrize("kind", KINDS)
def test_each_header_is_needed_and_named_when_missing(kind):
    webhooks = kind(SECRET)
    for name in (headers := signed(webhooks)):
        error = refusal(webhooks, {**headers, name: ""})
        assert (error.reason, error.header) == ("missing", name)
        rest = {key: value for key, value in headers.items() if key != name}
        assert str(refusal(webhooks, rest)) == f"The header {name} is missing."


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_that_came_twice_is_refused(kind):
    webhooks = kind(SECRET)
    pairs = list(signed(webhooks).items())
    for pair in pairs:
        assert "more than once" in str(refusal(webhooks, [*pairs, pair]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", ["é", "x\udcff", "v1,\u200b", "9" * 10_000])
def test_a_header_that_is_huge_or_not_ascii_is_refused(kind, value):
    webhooks = kind(SECRET)
    for name in (headers := signed(webhooks)):
        error = refusal(webhooks, {**headers, name: value})
        assert (error.reason, error.header) == ("malformed", name)
        assert value not in str(error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("away", [timedelta(minutes=5), timedelta(minutes=-5), timedelta(0)])
def test_a_timestamp_within_the_tolerance_is_accepted_in_both_directions(kind, away):
    webhooks = kind(SECRET)
    assert webhooks.verify(signed(webhooks), BODY, now=NOW + away)
    assert webhooks.verify(signed(webhooks), BODY, now=(NOW + away).timestamp())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("seconds", "reason"), [(61, "too-old"), (-61, "too-new")])
def test_a_timestamp_out_of_tolerance_is_refused(kind, seconds, reason):
    webhooks = kind(SECRET, tolerance=timedelta(minutes=1))
    late = NOW + timedelta(seconds=seconds)
    assert refusal(webhooks, signed(webhooks), now=late).reason == reason


@pytest.mark.parametrize("timestamp", ["now", "1.5", "-1", "+1", " 1", "1_0", "9" * 13, "0x1", "²"])
def test_a_timestamp_that_is_no_number_of_seconds_is_refused(timestamp):
    headers = {**signed(STANDARD), "webhook-timestamp": timestamp}
    assert refusal(STANDARD, headers).reason == "malformed"
    header = {"stripe-signature": f"t={timestamp},v1=00"}
    assert refusal(STRIPE, header).reason == "malformed"


def test_the_clock_must_have_a_time_zone():
    with pytest.raises(ValueError, match="no time zone"):
        STANDARD.verify(signed(STANDARD), BODY, now=datetime(2023, 11, 14))  # noqa: DTZ001  naive on purpose


@pytest.mark.parametrize("kind", KINDS)
def test_while_secrets_rotate_any_of_them_may_have_signed(kind):
    both = kind([OTHER, SECRET])
    assert both.verify(signed(kind(SECRET)), BODY, now=NOW)
    assert both.verify(signed(kind(OTHER)), BODY, now=NOW)
    assert signed(both) == signed(kind(OTHER)), "the first secret signs"


@pytest.mark.parametrize("junk", ["v1,????", "v1", "", "v2,AAAA", "v1,AAAA"])
def test_of_several_standard_signatures_one_valid_is_enough(junk):
    headers = signed(STANDARD)
    headers["webhook-signature"] = f"{junk} {headers['webhook-signature']} {junk}"
    assert STANDARD.verify(headers, BODY, now=NOW) == "msg_1"


def test_of_several_stripe_signatures_one_valid_is_enough():
    header = signed(STRIPE)["stripe-signature"]
    both = header.replace("v1=", "v0=zz, v1=00, v1=")
    assert STRIPE.verify({"stripe-signature": both}, BODY, now=NOW) == "evt_1"


@pytest.mark.parametrize("version", ["v0", "v1a", "v2", "V1", ""])
def test_a_signature_of_another_version_does_not_count(version):
    standard = signed(STANDARD)
    standard["webhook-signature"] = standard["webhook-signature"].replace("v1", version)
    assert refusal(STANDARD, standard).reason == "no-match"
    stripe = signed(STRIPE)["stripe-signature"].replace("v1", version)
    assert refusal(STRIPE, {"stripe-signature": stripe}).reason == "no-match"


@pytest.mark.parametrize("header", ["v1=00", "t=1,t=2,v1=00", "nonsense", ",,,", "t"])
def test_a_stripe_signature_without_one_timestamp_is_refused(header):
    error = refusal(STRIPE, {"stripe-signature": header})
    assert error.reason == "malformed"


def test_a_part_of_a_signed_body_can_not_be_passed_off_as_id_and_timestamp():
    headers = STANDARD.sign(b"1700000000.{}", webhook_id="msg_1", now=1)
    forged = {**headers, "webhook-id": "msg_1.1", "webhook-timestamp": "1700000000"}
    assert refusal(STANDARD, forged, b"{}").header == "webhook-id"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("secrets", ["", [], [SECRET, ""]])
def test_there_has_to_be_a_secret(kind, secrets):
    with pytest.raises(ValueError, match="secret is missing or empty"):
        kind(secrets)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!!", "whsec_é", "whsec_A"])
def test_a_standard_secret_that_is_no_base64_is_refused_without_showing_it(secret):
    with pytest.raises(ValueError, match="is not base64") as caught:
        StandardWebhooks(secret)
    assert secret not in str(caught.value).replace("'whsec_'", "")


def test_a_standard_secret_may_come_without_prefix_and_padding():
    bare = StandardWebhooks(OTHER.removeprefix("whsec_").rstrip("="))
    assert bare == StandardWebhooks(OTHER)


@pytest.mark.parametrize("kind", KINDS)
def test_no_repr_shows_a_secret(kind):
    assert "secret" not in repr(kind(SECRET))
    assert SECRET not in repr(kind(SECRET))


anything = st.text(st.characters(), max_size=60)
near = st.sampled_from(["v1,", "t=", "v1=", ",", " ", "1700000000", "msg_1", "AAAA", "."])
values = anything | st.lists(near | anything, max_size=6).map("".join)
names = st.sampled_from(
    ["webhook-id", "webhook-timestamp", "webhook-signature", "Stripe-Signature", "host"]
)


@given(headers=st.lists(st.tuples(names | anything, values), max_size=6), body=st.binary())
def test_whatever_the_headers_and_the_body_the_refusal_is_typed(headers, body):
    refusal(STANDARD, headers, body)
    refusal(STRIPE, headers, body)


@given(body=st.binary(), kind=st.sampled_from([StandardWebhooks, StripeWebhooks]))
def test_whatever_is_signed_verifies_and_nothing_else_does(body, kind):
    webhooks = kind(SECRET)
    headers = signed(webhooks, body)
    webhooks.verify(headers, body, now=NOW)
    refusal(webhooks, headers, body + b" ")


def test_a_verified_body_still_decodes():
    headers = signed(STANDARD)
    STANDARD.verify(headers, BODY, now=NOW)
    assert json.loads(BODY)["status"] == "paid"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "secret", [None, "", [], [None], ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ""]], ids=repr
)
def test_a_secret_that_is_missing_is_told_at_once(kind, secret):
    """As of an environment variable that is not set."""
    with pytest.raises(ValueError, match="A signing secret is missing or empty"):
        kind(secret)


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_that_is_no_text_is_told(kind):
    with pytest.raises(TypeError, match="A signing secret is a str, as the sender shows it, not bytes"):
        kind(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    with pytest.raises(TypeError, match="not int"):
        kind([5])


@pytest.mark.parametrize("kind", KINDS)
def test_the_tolerance_may_be_given_in_seconds(kind):
    webhooks = kind(SECRET, tolerance=60)
    headers = signed(webhooks)
    webhooks.verify(headers, BODY, now=NOW + timedelta(seconds=59))
    assert refusal(webhooks, headers, now=NOW + timedelta(seconds=61)).reason == "too-old"
    with pytest.raises(TypeError, match="tolerance= is a timedelta or seconds, not '5 minutes'"):
        kind(SECRET, tolerance="5 minutes")

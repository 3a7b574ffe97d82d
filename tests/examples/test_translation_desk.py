"""The translation desk without a browser: its routes, its table and its clock."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from datetime import timedelta

import httpx
import pytest

from awaitpy import Ok, Result
from awaitpy.testing import FakeClock
from examples.translation_review import app as web
from examples.translation_review.desk import LEASE, RETRY, Desk
from examples.translation_review.store import Store
from examples.translation_review.translator import CannotTranslate, Draft, word_table

TEXT = "Good morning, my friend"
DRAFT = "Guten Morgen, mein Freund"
STORED = ["store-text", "translate", "review-hook", "store-draft"]


class Slow:
    """A translator that answers when it may."""

    def __init__(self):
        self.may_answer = asyncio.Event()
        self.asked = asyncio.Event()

    async def translate(self, text: str, language: str) -> Result[Draft, CannotTranslate]:  # noqa: ARG002  every translator is asked so
        self.asked.set()
        await self.may_answer.wait()
        return Ok(Draft(f"slowly: {text}"))


class Broken:
    """A translator that can't be reached."""

    async def translate(self, text: str, language: str) -> Result[Draft, CannotTranslate]:  # noqa: ARG002  every translator is asked so
        raise ConnectionError("no route to the translator")


class Window:
    """What one person does, by HTTP, at one desk."""

    def __init__(self, desk):
        self.desk = desk
        transport = httpx.ASGITransport(web.create_app(desk))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://desk.example")

    async def enter(self, text=TEXT, language="de"):
        opened = await self.http.post("/reviews", data={"text": text, "language": language})
        assert opened.status_code == 303
        return opened.headers["location"]

    async def reads(self, page):
        shown = await self.http.get(page)
        assert shown.status_code == 200
        return shown.text

    async def told(self, page):
        return re.search(r'role="status"[^>]*>([^<]*)<', await self.reads(page))[1]

    async def hook(self, page):
        return re.search(r'action="(/hooks/[^"]+)"', await self.reads(page))[1]

    async def press(self, hook, decision, **headers):
        return await self.http.post(hook, data={"decision": decision, "note": "ok"}, headers=headers)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def desks(tmp_path, clock):
    """Makes desks of one table, as if each were a process of its own."""
    with contextlib.ExitStack() as stack:

        def make(translator=None):
            store = Store(tmp_path / "desk.sqlite3")
            stack.callback(store.close)
            return Desk(store, translator or word_table(), clock=clock)

        yield make


@pytest.fixture
async def window(desks):
    window = Window(desks())
    async with window.http:
        yield window


@pytest.fixture
async def waiting(window):
    """The page of a review that waits for its reviewer."""
    page = await window.enter()
    await window.desk.wake_due()
    return page


def steps_done(desk, page):
    events = desk.store.activity(page.removeprefix("/reviews/"))
    return [each.step for each in events if each.event == "step.completed"]


def rows(desk, table):
    return desk.store._database.execute(f"SELECT * FROM {table}").fetchall()


async def test_a_text_is_stored_before_anything_ran_and_translated_by_the_scheduler(window):
    page = await window.enter()
    assert await window.told(page) == "Translating …"
    assert steps_done(window.desk, page) == []
    await window.desk.wake_due()
    assert await window.told(page) == "Waiting for your review."
    assert f'lang="de">{DRAFT}</p>' in await window.reads(page)
    assert steps_done(window.desk, page) == STORED


async def test_looking_at_the_url_of_the_hook_resolves_nothing(window, waiting, clock):
    hook = await window.hook(waiting)
    before = rows(window.desk, "runs")
    for method in ("GET", "GET", "HEAD"):
        looked = await window.http.request(method, hook)
        assert looked.status_code == 200
    until = (clock.now + timedelta(hours=1)).isoformat()
    looked = (await window.http.get(hook)).json()
    assert looked == {"status": "waiting", "review": waiting, "takes": ["POST"], "until": until}
    assert rows(window.desk, "runs") == before


async def test_validate_publishes_and_the_whole_request_is_there_to_see(window, waiting):
    pressed = await window.press(
        await window.hook(waiting), "validated", **{"user-agent": "Ada’s".encode()}
    )
    assert (pressed.status_code, pressed.json()) == (200, {"status": "completed"})
    page = await window.reads(waiting)
    assert "Validated. The translation is published." in page
    for name, value in {"Note": "ok", "Method": "POST", "Came by": "page"}.items():
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page
    assert [row[1:] for row in rows(window.desk, "published")] == [(DRAFT, "validated")]


async def test_reject_sends_the_draft_back_and_publishes_nothing(window, waiting):
    assert (await window.press(await window.hook(waiting), "rejected")).status_code == 200
    assert await window.told(waiting) == "Rejected. The draft went back, nothing is published."
    assert [row[1] for row in rows(window.desk, "sent_back")] == ["ok"]
    assert rows(window.desk, "published") == []


async def test_the_same_click_again_is_well_and_another_one_is_too_late(window, waiting):
    hook = await window.hook(waiting)
    first = await window.press(hook, "validated")
    again = await window.press(hook, "validated")
    other = await window.press(hook, "rejected")
    assert [each.status_code for each in (first, again, other)] == [200, 200, 409]
    assert again.json() == {"status": "duplicate"}
    assert steps_done(window.desk, waiting) == [*STORED, "publish"]


async def test_of_many_clicks_in_two_processes_one_counts(window, waiting, desks):
    hook = await window.hook(waiting)
    other = Window(desks())
    async with other.http:
        clicks = [
            each.press(hook, decision)
            for decision in ("validated", "rejected")
            for each in (window, other) * 4
        ]
        statuses = Counter(answer.status_code for answer in await asyncio.gather(*clicks))
    assert statuses == {200: 8, 409: 8}
    assert len(rows(window.desk, "published") + rows(window.desk, "sent_back")) == 1


@pytest.mark.parametrize("sent", [{"decision": "maybe"}, {"note": "no decision"}, {}])
async def test_what_no_button_sends_is_refused_and_the_hook_stays_open(window, waiting, sent):
    hook = await window.hook(waiting)
    assert (await window.http.post(hook, data=sent)).status_code == 422
    assert await window.told(waiting) == "Waiting for your review."
    assert (await window.press(hook, "validated")).status_code == 200


async def test_a_hook_that_nobody_made_is_unknown(window):
    assert (await window.press("/hooks/none", "validated")).status_code == 404
    assert (await window.press("/hooks/none", "validated", accept="text/html")).status_code == 404
    assert (await window.http.get("/hooks/none")).status_code == 404
    assert (await window.http.get("/reviews/none")).status_code == 404


async def test_after_an_hour_the_draft_is_published_as_unreviewed(window, waiting, clock):
    hook = await window.hook(waiting)
    clock.advance(timedelta(minutes=59, seconds=59))
    assert await window.desk.wake_due() == []
    clock.advance(1)
    late = await window.press(hook, "validated")
    assert late.status_code == 410
    await window.desk.wake_due()
    assert await window.told(waiting) == "Not reviewed in time. The draft is published as unreviewed."
    assert [row[1:] for row in rows(window.desk, "published")] == [(DRAFT, "unreviewed")]
    assert (await window.press(hook, "validated")).status_code == 410


async def test_a_click_in_time_counts_whenever_the_run_goes_on(window, waiting, clock, monkeypatch):
    """The process dies between the delivery and the next step; another one goes on, hours later."""
    hook = await window.hook(waiting)
    clock.advance(timedelta(minutes=59))
    with monkeypatch.context() as patch:
        patch.setattr(Desk, "go_on", killed)
        with pytest.raises(asyncio.CancelledError):
            await window.press(hook, "validated")
    assert await window.told(waiting) == "Your answer is here, the run goes on …"
    clock.advance(timedelta(hours=3))
    await window.desk.wake_due()
    assert await window.told(waiting) == "Validated. The translation is published."
    assert steps_done(window.desk, waiting) == [*STORED, "publish"]


async def killed(_desk, _run):
    raise asyncio.CancelledError


async def test_two_schedulers_never_wake_the_same_run(window, desks):
    await window.enter()
    woken = await asyncio.gather(window.desk.wake_due(), desks().wake_due())
    assert sorted(len(outcomes) for outcomes in woken) == [0, 1]


async def test_a_run_whose_process_died_goes_on_elsewhere_after_its_lease(desks, clock):
    slow = Slow()
    window = Window(desks(slow))
    page = await window.enter()
    leg = asyncio.create_task(window.desk.wake_due())
    await slow.asked.wait()
    leg.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leg

    other = desks()
    assert await other.wake_due() == []
    clock.advance(LEASE)
    await other.wake_due()
    assert await window.told(page) == "Waiting for your review."
    await window.http.aclose()


async def test_a_leg_that_outlives_its_lease_overwrites_nothing(desks, clock, caplog):
    slow = Slow()
    window = Window(desks(slow))
    page = await window.enter()
    leg = asyncio.create_task(window.desk.wake_due())
    await slow.asked.wait()
    clock.advance(LEASE)
    await desks().wake_due()
    before = rows(window.desk, "runs")
    slow.may_answer.set()
    await leg
    assert rows(window.desk, "runs") == before
    assert "took longer than its lease" in caplog.text
    assert page.removeprefix("/reviews/") in caplog.text
    assert DRAFT in await window.reads(page)
    assert (await window.press(await window.hook(page), "validated")).status_code == 200
    await window.http.aclose()


async def test_an_exception_interrupts_the_run_which_is_tried_again(desks, clock):
    window = Window(desks(Broken()))
    page = await window.enter()
    await window.desk.wake_due()
    assert await window.told(page) == "Something went wrong. It will be tried again by itself."
    assert "no route" not in await window.reads(page)

    mended = desks()
    assert await mended.wake_due() == []
    clock.advance(RETRY)
    await mended.wake_due()
    assert await window.told(page) == "Waiting for your review."
    assert steps_done(mended, page) == STORED
    await window.http.aclose()


@pytest.mark.parametrize(
    ("text", "language", "reason"),
    [
        ("Xyzzy!", "de", "Not one of its words is in the table."),
        ("Good day", "tlh", "There is no table for &#x27;tlh&#x27;."),
    ],
)
async def test_what_cannot_be_translated_ends_the_run_and_says_why(window, text, language, reason):
    page = await window.enter(text, language)
    await window.desk.wake_due()
    assert await window.told(page) == "This text can’t be translated."
    assert reason in await window.reads(page)


async def test_what_people_write_is_shown_and_never_run(window):
    page = await window.enter('Hello <script>alert("world")</script>')
    await window.desk.wake_due()
    for shown in (await window.reads(page), await window.reads("/")):
        assert "Hello &lt;script&gt;" in shown
        assert "<script>" not in shown


async def test_pages_may_load_nothing_from_elsewhere(window, waiting):
    for path in ("/", waiting):
        page = await window.http.get(path)
        assert page.headers["content-security-policy"] == "default-src 'self'"
        assert not re.search(r'(src|href)="(?!/)', page.text)
        for own in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
            assert (await window.http.get(own)).status_code == 200


@pytest.mark.parametrize("text", ["", "  ", "x" * 501])
async def test_a_text_that_is_none_or_too_long_starts_nothing(window, text):
    refused = await window.http.post("/reviews", data={"text": text, "language": "de"})
    assert refused.status_code == 422
    assert rows(window.desk, "runs") == []


async def test_a_text_that_is_no_form_is_malformed(window):
    refused = await window.http.post("/reviews", json={"text": TEXT})
    assert (refused.status_code, refused.json()["status"]) == (400, "invalid-payload")


async def test_a_table_that_cannot_be_read_does_not_end_the_scheduler(desks, caplog):
    desk = desks()
    desk.store.close()
    await web.wake(desk)
    assert "can't be read or written now" in caplog.text


async def test_words_keep_their_capitals_and_unknown_ones_stay():
    draft = await word_table().translate("Hello WORLD, qwertz and asdf!", "fr")
    assert draft == Ok(Draft("Bonjour Monde, qwertz et asdf!", ("qwertz", "asdf")))

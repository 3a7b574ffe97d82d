"""The translation desk as a person meets it: a real browser, real processes, a real kill."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
PATIENCE = 30  # seconds for a server to come up
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STORED = ["store-text", "translate", "review-hook", "store-draft"]
TEXT = "Good morning, my friend"
DRAFT = "Guten Morgen, mein Freund"


class Server:
    """The example in a process of its own, on a port and a file that outlive the process."""

    def __init__(self, folder, seconds=3600):
        self.file = Path(folder, "desk.sqlite3")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        settings = {"REVIEW_PORT": self.port, "REVIEW_DATABASE": self.file, "REVIEW_SECONDS": seconds}
        self.environment = os.environ | {name: str(value) for name, value in settings.items()}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def start(self):
        command = [sys.executable, "-m", "examples.translation_review"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL)
        ends = time.monotonic() + PATIENCE
        while not self.listens():
            assert self.process.poll() is None, "the server ended before it took connections"
            assert time.monotonic() < ends, "the server takes no connections"
            time.sleep(0.02)

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def rows(self, query, *values):
        with closing(sqlite3.connect(self.file)) as database:
            return database.execute(query, values).fetchall()

    def steps(self, page):
        """The steps that ran for the review on this page, with the process of each."""
        return self.rows(
            "SELECT step, pid FROM activity"
            " WHERE review_id = ? AND event = 'step.completed' ORDER BY rowid",
            review_id(page),
        )

    def published(self, page):
        return self.rows("SELECT text, decision FROM published WHERE review_id = ?", review_id(page))

    def sent_back(self, page):
        return self.rows("SELECT note FROM sent_back WHERE review_id = ?", review_id(page))


def review_id(page):
    return page.url.rpartition("/")[2]


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("desk")) as server:
        yield server


@pytest.fixture
def page(chromium):
    with chromium.new_context() as context:
        yield context.new_page()


def enter(page, server, text=TEXT):
    page.goto(server.url)
    page.get_by_label("Text, in English").fill(text)
    page.get_by_label("Into").select_option("German")
    page.get_by_role("button", name="Translate").click()


def status(page):
    return expect(page.get_by_role("status"))


def press(page, name):
    page.get_by_role("button", name=name).click()


def test_a_person_sees_the_translation_and_validates_it(page, server):
    enter(page, server)
    status(page).to_have_text("Waiting for your review.")
    expect(page.locator("#draft")).to_have_text(DRAFT)
    assert server.published(page) == []

    page.get_by_label("Note for the author").fill("“Guten” it is")
    press(page, "Validate")
    status(page).to_have_text("Validated. The translation is published.")
    request = page.locator("section", has_text="The request that answered")
    for part in ("POST", "page", "Chrome/", "“Guten” it is"):
        expect(request).to_contain_text(part)
    expect(page.get_by_role("button")).to_have_count(0)
    assert server.published(page) == [(DRAFT, "validated")]
    assert [step for step, _ in server.steps(page)] == [*STORED, "publish"]


def test_a_person_rejects_it_and_nothing_is_published(page, server):
    enter(page, server)
    page.get_by_label("Note for the author").fill("not today")
    press(page, "Reject")
    status(page).to_have_text("Rejected. The draft went back, nothing is published.")
    assert server.sent_back(page) == [("not today",)]
    assert server.published(page) == []


def test_a_reload_in_the_middle_changes_nothing(page, server):
    enter(page, server)
    status(page).to_have_text("Waiting for your review.")
    for _ in range(3):
        page.reload()
        status(page).to_have_text("Waiting for your review.")
        expect(page.locator("#draft")).to_have_text(DRAFT)
    assert [step for step, _ in server.steps(page)] == STORED

    press(page, "Validate")
    status(page).to_have_text("Validated. The translation is published.")
    page.reload()
    status(page).to_have_text("Validated. The translation is published.")
    assert [step for step, _ in server.steps(page)] == [*STORED, "publish"]


def test_a_double_click_sends_two_requests_and_the_run_goes_on_once(page, server):
    held, answers = [], []

    def both_at_once(route):
        held.append(route)
        if len(held) == 2:
            for each in held:
                each.continue_()

    page.route("**/hooks/*", both_at_once)
    page.on("response", lambda answer: answers.append(answer.status) if "/hooks/" in answer.url else None)
    enter(page, server)
    with page.expect_response(lambda _: len(answers) == 2):
        page.get_by_role("button", name="Validate").dblclick()
    assert answers == [200, 200]
    status(page).to_have_text("Validated. The translation is published.")
    expect(page.locator("#problem")).to_be_empty()
    assert server.published(page) == [(DRAFT, "validated")]
    assert Counter(step for step, _ in server.steps(page)) == dict.fromkeys([*STORED, "publish"], 1)


def test_another_window_on_the_same_review_follows_by_itself_and_keeps_a_half_written_note(page, server):
    enter(page, server)
    status(page).to_have_text("Waiting for your review.")
    other = page.context.new_page()
    other.goto(page.url)
    note = other.get_by_label("Note for the author")
    note.fill("half a no")
    for _ in range(3):
        with other.expect_response("**/panel"):
            pass
    expect(note).to_have_value("half a no")
    expect(note).to_be_focused()

    press(page, "Validate")
    status(other).to_have_text("Validated. The translation is published.")
    expect(note).to_have_count(0)


def test_without_its_script_the_page_works_and_a_late_click_is_told_so(page, server, chromium):
    enter(page, server)
    status(page).to_have_text("Waiting for your review.")
    with chromium.new_context(java_script_enabled=False) as context:
        plain, stale = context.new_page(), context.new_page()
        plain.goto(page.url)
        stale.goto(page.url)
        press(plain, "Validate")
        status(plain).to_have_text("Validated. The translation is published.")
        assert plain.url == page.url

        press(stale, "Reject")
        expect(stale.get_by_role("alert")).to_have_text(
            "the hook was answered by another delivery, or its run has ended"
        )
        status(stale).to_have_text("Validated. The translation is published.")
    assert server.sent_back(page) == []


def test_opening_the_url_of_the_hook_resolves_nothing(page, server):
    enter(page, server)
    status(page).to_have_text("Waiting for your review.")
    hook = page.locator("#live form").get_attribute("action")
    other = page.context.new_page()
    assert other.goto(server.url + hook).json()["status"] == "waiting"
    page.reload()
    status(page).to_have_text("Waiting for your review.")


def test_nobody_comes_in_time_and_the_page_says_so_by_itself(page, tmp_path):
    with Server(tmp_path, seconds=1) as hurried:
        enter(page, hurried)
        status(page).to_have_text("Not reviewed in time. The draft is published as unreviewed.")
        expect(page.get_by_role("button")).to_have_count(0)
        expect(page.get_by_text("Nobody came: the wait is over")).to_be_visible()
        assert hurried.published(page) == [(DRAFT, "unreviewed")]


def test_the_server_is_killed_while_it_waits_and_the_page_goes_on_with_its_successor(page, tmp_path):
    with Server(tmp_path) as server:
        enter(page, server)
        status(page).to_have_text("Waiting for your review.")
        page.get_by_label("Note for the author").fill("still here")
        server.kill()
        status(page).to_contain_text("The server is away.")
        press(page, "Validate")
        expect(page.get_by_role("alert")).to_contain_text("The server did not answer.")

        server.start()
        status(page).to_have_text("Waiting for your review.")
        press(page, "Validate")
        status(page).to_have_text("Validated. The translation is published.")
        expect(page.locator("#problem")).to_be_empty()
        assert server.published(page) == [(DRAFT, "validated")]
        assert server.rows("SELECT DISTINCT text FROM texts") == [(TEXT,)]
        ran = server.steps(page)
        assert [step for step, _ in ran] == [*STORED, "publish"]
        assert len({pid for _, pid in ran[:-1]}) == 1
        assert ran[-1][1] == server.process.pid != ran[0][1]

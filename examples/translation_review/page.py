"""The pages, as functions from values to HTML. All that people wrote is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from examples.translation_review.store import Activity, Review
from examples.translation_review.translator import LANGUAGES, Draft
from examples.translation_review.view import View
from examples.translation_review.workflow import Verdict

_HAPPENED = {
    "store-text": "Text stored",
    "translate": "Translated",
    "review-hook": "Hook created",
    "store-draft": "Draft and hook’s URL stored",
    "publish": "Translation published",
    "publish-unreviewed": "Draft published as unreviewed",
    "send-back": "Draft sent back",
    "hook.waiting": "Run suspended: it waits for the reviewer",
    "hook.answered": "Answer taken: the run went on",
    "hook.expired": "Nobody came: the wait is over",
}


def front(latest: Sequence[View]) -> str:
    """The form for a new text, and the reviews that there are."""
    options = "".join(f'<option value="{code}">{name}</option>' for code, name in LANGUAGES.items())
    items = "".join(_item(view) for view in latest)
    list_ = f'<section class="card"><h2>Latest reviews</h2><ul class="latest">{items}</ul></section>'
    return _whole(
        "Translation desk",
        f"""<form class="card" method="post" action="/reviews">
<h2>A text to translate</h2>
<label for="text">Text, in English</label>
<textarea id="text" name="text" rows="3" maxlength="500" required
 placeholder="Hello world, the old man reads a letter today."></textarea>
<label for="language">Into</label>
<select id="language" name="language">{options}</select>
<div class="buttons"><button class="yes">Translate</button></div>
</form>{list_ if latest else ""}""",
    )


def review(view: View, problem: str = "") -> str:
    """The page of a review, whose script keeps the status and the panel as they are now."""
    return _whole(
        "Review of a translation",
        f"""<p id="status" class="status" role="status" data-standing="{view.standing}">{view.told}</p>
<p id="problem" class="problem" role="alert">{escape(problem)}</p>
<div id="live">{panel(view)}</div>
<noscript><p>Reload the page to see how it goes on.</p></noscript>""",
    )


def panel(view: View) -> str:
    """What changes while a run goes on."""
    return f"""<div id="panel" data-version="{view.version}" data-standing="{view.standing}"
 data-told="{view.told}" tabindex="-1">
{_texts(view.review) if view.review else ""}
{_form(view) if view.standing == "waiting" else ""}
{_verdict(view.verdict) if view.verdict and view.verdict.method else ""}
{f'<p class="card">{escape(view.problem)}</p>' if view.problem else ""}
{_activity(view.activity)}</div>"""


def _whole(title: str, main: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/page.css"><script src="/static/page.js" defer></script></head>
<body><header><h1>{title}</h1>
<nav><a href="/">New text</a></nav></header>
<main>{main}</main></body></html>"""


def _item(view: View) -> str:
    text = view.review.text if view.review else "A new text"
    return f"""<li><a href="/reviews/{view.review_id}">{escape(text)}</a>
<span class="badge" data-standing="{view.standing}">{view.standing}</span></li>"""


def _texts(review: Review) -> str:
    language = escape(LANGUAGES.get(review.language, review.language))
    return f"""<div class="pair"><section class="card"><h2>English</h2>
<p class="text" lang="en">{escape(review.text)}</p></section>
<section class="card"><h2>{language}</h2>
{_draft(review.draft, review.language) if review.draft else '<p class="text">…</p>'}</section></div>"""


def _draft(draft: Draft, language: str) -> str:
    words = ", ".join(f"<q>{escape(word)}</q>" for word in draft.unknown)
    unknown = f'<p class="hint">Not in the table: {words}</p>' if words else ""
    return f'<p id="draft" class="text" lang="{escape(language)}">{escape(draft.text)}</p>{unknown}'


def _form(view: View) -> str:
    until = f'<p class="hint">Until {_time(view.deadline)}.</p>' if view.deadline else ""
    return f"""<form class="card" method="post" action="{view.hook_url}?via=page">
<h2>Your review</h2>
<label for="note">Note for the author (optional)</label>
<textarea id="note" name="note" rows="2" maxlength="500"></textarea>
<div class="buttons"><button class="yes" name="decision" value="validated">Validate</button>
<button class="no" name="decision" value="rejected">Reject</button>{until}</div></form>"""


def _verdict(verdict: Verdict) -> str:
    rows = {
        "Note": verdict.note or "none",
        "Method": verdict.method,
        "Came by": verdict.via,
        "Browser": verdict.browser,
    }
    terms = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    return f"""<section class="card"><h2>The request that answered</h2><dl>{terms}</dl></section>"""


def _activity(activity: Sequence[Activity]) -> str:
    items = "".join(f"<li>{_happened(each)}</li>" for each in activity)
    return f"""<section class="card"><h2>What the run did</h2><ol class="activity">{items}</ol></section>"""


def _happened(each: Activity) -> str:
    what = _HAPPENED.get(each.event) or _HAPPENED.get(each.step, each.step)
    return f'{_time(each.at)} <span>{escape(what)}</span> <span class="hint">process {each.pid}</span>'


def _time(at: datetime) -> str:
    """In UTC; the script makes it local."""
    return f'<time datetime="{at.isoformat()}">{at:%H:%M:%S} UTC</time>'

// Keeps the page of a review as its run is. Without it the forms work all the same.
"use strict";

const live = document.getElementById("live");
const status = document.getElementById("status");
const problem = document.getElementById("problem");
const PAUSE = 500;
const FINAL = new Set(["validated", "rejected", "unreviewed", "failed"]);

function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function localTimes() {
  for (const time of document.querySelectorAll("time")) {
    time.textContent = new Date(time.dateTime).toLocaleTimeString("en-GB");
  }
}

function show(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // the server has escaped what people wrote
  const panel = template.content.firstElementChild;
  // What has not changed stays: there may be a half-written note in it.
  if (panel.dataset.version === document.getElementById("panel").dataset.version) return;
  const hadFocus = live.contains(document.activeElement);
  live.replaceChildren(panel);
  status.dataset.standing = panel.dataset.standing;
  tell(status, panel.dataset.told);
  localTimes();
  if (hadFocus) panel.focus();
}

async function refresh() {
  const answer = await fetch(`${location.pathname}/panel`);
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  show(await answer.text());
}

async function follow() {
  try {
    await refresh();
    if (status.dataset.away) {
      delete status.dataset.away;
      tell(status, document.getElementById("panel").dataset.told);
    }
  } catch {
    status.dataset.away = "yes";
    tell(status, "The server is away. Nothing is lost, this page waits for it …");
  }
  if (!FINAL.has(status.dataset.standing)) setTimeout(follow, PAUSE);
}

// Nothing in here keeps a person from clicking twice: that a second click changes nothing is the
// business of the hook.
async function send(event) {
  event.preventDefault();
  const form = event.target;
  const body = new URLSearchParams(new FormData(form));
  body.append(event.submitter.name, event.submitter.value);
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers: { accept: "application/json" } });
    const told = await answer.json();
    tell(problem, answer.ok ? "" : `That was not taken: ${told.detail}.`);
    await refresh();
  } catch {
    tell(problem, "The server did not answer. Nothing is lost: press the button again in a moment.");
  }
}

localTimes();
if (live) {
  live.addEventListener("submit", send);
  follow();
}

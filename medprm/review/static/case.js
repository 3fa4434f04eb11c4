// The page of a case: steps judged by keyboard, every answer saved at once, the next solution's images fetched ahead.

import { element, post, Refused } from "./api.js";
import { caseElements, endingElement, lostElement, stepElements } from "./case_elements.js";
import { StepClock } from "./clock.js";
import { loadFrame } from "./frames.js";
import { Viewer } from "./viewer.js";

const VERDICTS = ["correct", "incorrect", "neutral", "unknown"];
const NOTE_PAUSE_MS = 500;
const TOO_SLOW = 408;
const NOT_YOURS = 409;
const kind = document.querySelector("#work").dataset.kind;
const viewer = new Viewer(document.querySelector("#viewer"));
const find = (name) => document.querySelector(name);

let view = null; // what the server sent of the task
let states = new Map(); // step_id -> verdict, note, error_kind, severity, icd10
let asked = []; // ids of the steps to judge, in their order on the page
let current = 0; // place in `asked`
let isDone = false;
let underWay = 0; // answers that are not yet acknowledged
let refused = new Map(); // step_id -> why its last answer was not saved
let saved = new Map(); // step_id -> what the server has
let queue = Promise.resolve();
const clock = new StepClock();
const pauses = new Map();

// ---------------------------------------------------------------------------------------------------- loading
async function next() {
  isDone = false;
  clock.clear();
  refused = new Map();
  view = null; // keys do nothing until the next task is here
  find("#ending").replaceChildren();
  find("#steps").replaceChildren();
  try {
    view = await post(`/api/next/${kind}`);
  } catch (error) {
    trouble(error);
    return;
  }
  if (view.turn === null) {
    view = null;
    find("#case").replaceChildren();
    find("#steps").replaceChildren(element("p", { class: "ending" }, "Nothing is left to do here. ", element("a", { href: "/" }, "Back to the overview")));
    find("#work").classList.add("text");
    find("#place").textContent = "";
    return;
  }
  states = new Map(view.steps.filter((one) => one.state).map((one) => [one.step_id, { ...one.state }]));
  saved = new Map(states);
  asked = view.steps.filter((one) => one.is_asked).map((one) => one.step_id);
  const { task } = view.turn;
  find("#place").textContent = `solution ${task} of ${view.num_tasks}`;
  find("#work").classList.toggle("text", view.images.length === 0);
  find("#case").replaceChildren(...caseElements(view));
  find("#steps").replaceChildren(...stepElements(view, handlers));
  find("#panel").scrollTop = 0;
  clock.idleSeconds = view.idle_seconds;
  for (const step of asked) showState(step);
  const open = asked.findIndex((step) => !states.get(step)?.verdict);
  focusStep(open < 0 ? asked.length - 1 : open, false);
  saying(states.size ? "saved" : "");
  await viewer.show(view.images.map((one) => one.number), view.case.modality);
  for (const image of view.following_images) loadFrame(image.number).catch(() => {});
}

// ---------------------------------------------------------------------------------------------------- steps
function focusStep(place, isScrolled = true) {
  if (!view || place < 0 || place >= asked.length) return;
  current = place;
  const step = asked[current];
  clock.turnTo(step);
  for (const one of document.querySelectorAll(".step, .chain li")) {
    const isCurrent = Number(one.dataset.step) === step;
    if (isCurrent) one.setAttribute("aria-current", "step");
    else one.removeAttribute("aria-current");
  }
  const shown = card(step);
  shown.focus({ preventScroll: true });
  if (isScrolled) shown.scrollIntoView({ block: "nearest" });
}

function card(step) {
  return document.querySelector(`.step[data-step="${step}"]`);
}

function showState(step) {
  const state = states.get(step) ?? {};
  const shown = card(step);
  if (state.verdict) shown.dataset.verdict = state.verdict;
  else delete shown.dataset.verdict;
  const word = state.verdict === "unknown" ? "cannot tell" : (state.verdict ?? "not judged");
  const why = refused.get(step);
  shown.classList.toggle("unsaved", why !== undefined);
  shown.querySelector(".said").textContent = why === undefined ? word : `${word}, not saved: ${why}`;
  for (const button of shown.querySelectorAll(".choices button")) {
    button.setAttribute("aria-pressed", String(button.dataset.verdict === state.verdict));
  }
  for (const field of shown.querySelectorAll("[data-field]")) {
    if (document.activeElement !== field) field.value = state[field.dataset.field] ?? "";
    if (field.dataset.for) field.closest("label").hidden = state.verdict !== field.dataset.for;
  }
}

function setVerdict(step, verdict) {
  const started = performance.now();
  const state = { ...(states.get(step) ?? {}), verdict };
  if (verdict !== "incorrect") {
    state.error_kind = null;
    state.severity = null;
  }
  states.set(step, state);
  showState(step);
  requestAnimationFrame(() => performance.measure("verdict", { start: started, end: performance.now() }));
  send(step);
}

function setField(step, name, value) {
  states.set(step, { ...(states.get(step) ?? {}), [name]: value || null });
  clearTimeout(pauses.get(step));
  pauses.set(step, setTimeout(() => flush(step), NOTE_PAUSE_MS));
  saying("saving …");
}

function flush(step) {
  if (!pauses.has(step)) return;
  clearTimeout(pauses.get(step));
  pauses.delete(step);
  send(step);
}

const handlers = {
  verdict: (step, verdict) => {
    focusStep(asked.indexOf(step));
    setVerdict(step, verdict);
  },
  field: setField,
  flush,
  focus: (step) => focusStep(asked.indexOf(step)),
};

// ---------------------------------------------------------------------------------------------------- saving
// Answers go out one after the other; what fails for want of a network is sent again until it is there.
function send(step) {
  const turn = view.turn.id;
  const { verdict, note, error_kind, severity, icd10 } = states.get(step);
  const body = { step_id: step, verdict, note, error_kind, severity, icd10 };
  for (const name of Object.keys(body)) body[name] ??= null;
  body.seconds = clock.take(step);
  body.client_id = crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint32Array(4)), (one) => one.toString(16)).join("-");
  underWay += 1;
  saying("saving …");
  queue = queue.then(() => deliver(turn, body)).finally(() => {
    underWay -= 1;
  });
  return queue;
}

async function deliver(turn, body) {
  for (let wait = 500; ; wait = Math.min(8000, 2 * wait)) {
    try {
      const { state } = await post(`/api/turn/${turn}/verdict`, body);
      if (turn === view?.turn.id) received(body.step_id, state);
      return;
    } catch (error) {
      trouble(error);
      if (error instanceof Refused && error.status < 500 && error.status !== TOO_SLOW) {
        if (turn === view?.turn.id) refusedStep(body, error);
        return;
      }
      await new Promise((done) => setTimeout(done, wait));
    }
  }
}

function received(step, state) {
  saved.set(step, state);
  if (refused.delete(step)) showState(step);
  if (refused.size) sayUnsaved();
  else if (underWay <= 1 && !pauses.size) saying("saved");
}

function refusedStep(body, error) {
  clock.giveBack(body.step_id, body.seconds);
  refused.set(body.step_id, error.message);
  showState(body.step_id);
  if (error.status === NOT_YOURS) end(lostElement(error.message, next));
  else sayUnsaved();
}

function sayUnsaved() {
  const steps = [...refused.keys()].map((step) => step + 1).sort((a, b) => a - b);
  find("#saved").classList.add("trouble");
  find("#saved").textContent = `step ${steps.join(", ")} not saved`;
}

async function settle() {
  for (const step of [...pauses.keys()]) flush(step);
  await queue;
}

async function undo() {
  await settle();
  if (refused.size) {
    takeBack([...refused.keys()].pop());
    return;
  }
  try {
    const { undone } = await post(`/api/turn/${view.turn.id}/undo`);
    if (!undone) {
      saying("nothing to undo");
      return;
    }
    states.set(undone.step_id, undone);
    saved.set(undone.step_id, undone);
    // The answer may be late: who has gone on by Tab inside this step stays there.
    if (!card(undone.step_id).contains(document.activeElement)) focusStep(asked.indexOf(undone.step_id));
    showState(undone.step_id);
    saying("undone");
  } catch (error) {
    trouble(error);
  }
}

// What was not saved goes; what the server has comes back.
function takeBack(step) {
  refused.delete(step);
  states.set(step, { ...saved.get(step) });
  focusStep(asked.indexOf(step));
  showState(step);
  if (refused.size) sayUnsaved();
  else saying("undone");
}

async function finish() {
  await settle();
  if (isDone) return;
  if (refused.size) {
    focusStep(asked.indexOf([...refused.keys()][0]));
    sayUnsaved();
    return;
  }
  const spent = asked.map((step) => ({ step_id: step, seconds: clock.take(step) })).filter((one) => one.seconds > 0);
  try {
    const { gold } = await post(`/api/turn/${view.turn.id}/finish`, { spent });
    end(endingElement(gold, next));
    saying("finished");
  } catch (error) {
    for (const one of spent) clock.giveBack(one.step_id, one.seconds);
    trouble(error);
  }
}

// Nothing more can be said here; the button of the element leads on.
function end(ending) {
  isDone = true;
  clock.stop();
  find("#ending").replaceChildren(ending);
  ending.scrollIntoView({ block: "nearest" });
  ending.querySelector("button").focus();
}

function forward() {
  flush(asked[current]);
  const open = (place) => !states.get(asked[place])?.verdict;
  const places = asked.map((_, place) => place);
  const target = places.find((place) => place > current && open(place)) ?? places.find(open);
  if (target !== undefined) focusStep(target);
  else finish();
}

function saying(text) {
  find("#saved").classList.remove("trouble");
  find("#saved").textContent = text;
}

function trouble(error) {
  find("#saved").classList.add("trouble");
  find("#saved").textContent = error instanceof Refused ? error.message : "not saved yet: no answer from the server";
}

// ---------------------------------------------------------------------------------------------------- keys
document.addEventListener("keydown", (event) => {
  const isWriting = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
  if (isWriting) {
    if (event.key === "Escape") focusStep(current);
    return;
  }
  if (!view || (hasModifier && !(event.ctrlKey && event.key === "z"))) return;
  if (key(event)) event.preventDefault();
});

function key(event) {
  if (isDone) return false; // Enter goes to the button that has the focus
  const step = asked[current];
  const number = VERDICTS[Number(event.key) - 1];
  if (number) setVerdict(step, number);
  else if (event.key === "Enter") {
    if (/^(BUTTON|A|SUMMARY)$/.test(event.target.tagName)) return false;
    forward();
  } else if (event.key === "ArrowDown") focusStep(current + 1);
  else if (event.key === "ArrowUp") focusStep(current - 1);
  else if (event.key === "n") card(step).querySelector("textarea").focus();
  else if (event.key === "u" || event.key === "z") undo();
  else return viewer.key(event.key);
  return true;
}

for (const name of ["pointermove", "keydown", "wheel", "pointerdown"]) {
  document.addEventListener(name, () => clock.touch(), { passive: true });
}
window.addEventListener("beforeunload", (event) => {
  for (const step of [...pauses.keys()]) flush(step); // goes out with keepalive
  if (underWay > 1 || (refused.size && !isDone)) event.preventDefault();
});
document.addEventListener("visibilitychange", () => (document.hidden ? clock.pause() : clock.touch()));

next();

// What the panel of a case is made of. Texts of records are set as text: markup in them is shown, never run.

import { element } from "./api.js";

const WORDS = { correct: "correct", incorrect: "incorrect", neutral: "neutral", unknown: "cannot tell" };

export function caseElements(view) {
  const { context, question, options, documents } = view.case;
  const rows = context.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return [
    rows.length ? element("dl", { class: "context" }, ...rows) : null,
    element("p", { class: "question" }, question),
    options.length ? element("ul", { class: "options" }, ...options.map((one) => element("li", {}, one))) : null,
    documents.length
      ? element(
          "details",
          {},
          element("summary", {}, documents.length === 1 ? "1 passage that the model could read" : `${documents.length} passages that the model could read`),
          ...documents.map((one) => element("blockquote", {}, element("b", {}, [one.title, one.source].filter(Boolean).join(" · ")), "\n", one.text)),
        )
      : null,
  ].filter(Boolean);
}

export function stepElements(view, handlers) {
  const asked = view.steps.filter((one) => one.is_asked);
  const title = view.turn.kind === "adjudicate" ? "To decide" : "To judge";
  const made = [element("h2", {}, `${title}: ${asked.length} of ${view.steps.length} steps`), ...asked.map((one) => stepCard(one, view, handlers))];
  if (asked.length < view.steps.length) {
    const items = view.steps.map((one) => element("li", { class: one.is_asked ? "asked" : null, "data-step": one.step_id }, one.content));
    made.push(element("h2", {}, "The whole reasoning"), element("ol", { class: "chain" }, ...items));
  }
  return made;
}

function stepCard(step, view, handlers) {
  const id = step.step_id;
  const buttons = Object.entries(WORDS).map(([verdict, word], place) =>
    element("button", { type: "button", "data-verdict": verdict, "aria-pressed": "false", onclick: () => handlers.verdict(id, verdict) }, element("kbd", {}, String(place + 1)), ` ${word}`),
  );
  return element(
    "article",
    { class: "step", "data-step": id, tabindex: "-1", "aria-label": `Step ${id + 1}`, onclick: (event) => handlers.focus(id, event) && null },
    element("p", { class: "head" }, element("b", {}, `Step ${id + 1}`), element("span", {}, step.category ?? ""), element("span", { class: "said" }, "not judged")),
    element("p", { class: "content" }, step.content),
    element(
      "div",
      { class: "work" },
      othersElement(step.others),
      machinesElement(step.machines),
      element("div", { class: "choices", role: "group", "aria-label": `Verdict on step ${id + 1}` }, ...buttons),
      fieldsElement(step, handlers),
    ),
  );
}

function fieldsElement(step, handlers) {
  const id = step.step_id;
  const field = (name, attributes) => {
    const listeners = { oninput: (event) => handlers.field(id, name, event.target.value), onchange: () => handlers.flush(id), onblur: () => handlers.flush(id) };
    return { "data-field": name, ...attributes, ...listeners, onclick: (event) => event.stopPropagation() };
  };
  const list = (name) => {
    const options = document.querySelector("#options").content.querySelectorAll(`[data-list=${name}]`);
    return [element("option", { value: "" }, "–"), ...[...options].map((one) => element("option", {}, one.textContent))];
  };
  return element(
    "div",
    { class: "fields" },
    element("label", { hidden: true }, "Kind of error", element("select", field("error_kind", { "data-for": "incorrect" }), ...list("error_kind"))),
    element("label", { hidden: true }, "Severity", element("select", field("severity", { "data-for": "incorrect" }), ...list("severity"))),
    step.category === "diagnosis" ? element("label", {}, "ICD-10", element("input", field("icd10", { size: "8", maxlength: "20", autocomplete: "off" }))) : null,
    element("label", { class: "note" }, "Note", element("textarea", field("note", { rows: "1", maxlength: "4000" }))),
  );
}

function machinesElement(machines) {
  if (!machines) return null;
  const lines = [];
  for (const one of machines.judge) {
    lines.push(element("p", {}, element("b", {}, `Judge: ${one.verdict}. `), one.reason ?? ""));
    for (const cited of one.citations) lines.push(citationElement(cited));
  }
  for (const one of machines.monte_carlo) {
    const read = one.num_correct + one.num_wrong;
    lines.push(element("p", {}, element("b", {}, "Rollouts: "), `${one.num_correct} of ${read} reach the right answer${one.num_unread ? `, ${one.num_unread} could not be read` : ""}`));
  }
  for (const one of machines.outcome) lines.push(element("p", {}, element("b", {}, "Final answer: "), one));
  if (machines.score !== null) lines.push(element("p", {}, element("b", {}, "PRM score: "), machines.score.toFixed(2)));
  return lines.length ? element("div", { class: "machines", role: "group", "aria-label": "What the machines said" }, ...lines) : null;
}

// The quote is marked in its passage, where the record holds that; else it stands alone.
function citationElement(cited) {
  const { passage, quote, source } = cited;
  const place = passage ? passage.indexOf(quote) : -1;
  const body = place >= 0 && quote ? [passage.slice(0, place), element("mark", {}, quote), passage.slice(place + quote.length)] : [element("mark", {}, quote), passage ? `\n${passage}` : null];
  return element("blockquote", {}, ...body, "\n", element("span", { class: "quiet" }, source));
}

function othersElement(others) {
  if (!others.length) return null;
  const lines = others.map((one) => {
    const more = [one.error_kind, one.severity, one.icd10].filter(Boolean).join(", ");
    return element("p", {}, element("b", {}, `${one.reader}: ${WORDS[one.verdict] ?? "not judged"}`), more ? ` (${more})` : "", one.note ? ` ${one.note}` : "");
  });
  return element("div", { class: "others", role: "group", "aria-label": "What the readers said" }, ...lines);
}

export function endingElement(gold, next) {
  const rows = gold.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return element(
    "section",
    { class: "ending", "aria-label": "Finished" },
    element("h2", {}, "Finished"),
    rows.length ? element("dl", { class: "context" }, ...rows) : element("p", { class: "quiet" }, "No reference to show."),
    element("button", { type: "button", class: "primary", onclick: next }, "Next solution (Enter)"),
  );
}

export function lostElement(why, next) {
  return element(
    "section",
    { class: "ending", "aria-label": "Not yours any more" },
    element("h2", {}, "Not yours any more"),
    element("p", {}, `${why}. What was saved is kept, and comes back should you get this solution again.`),
    element("button", { type: "button", class: "primary", onclick: next }, "Next solution (Enter)"),
  );
}

// The page of progress keeps itself up to date while nobody is in its forms; it asks only once it has been answered.

const PAUSE_MS = 10000;

async function refresh() {
  if (document.hidden || document.querySelector("#live").contains(document.activeElement)) return;
  const answer = await fetch("/progress");
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.querySelector("#live").replaceWith(page.querySelector("#live"));
}

function again() {
  setTimeout(() => refresh().catch(() => {}).finally(again), PAUSE_MS);
}

again();

// The page of progress keeps itself up to date while nobody is in its forms.

setInterval(async () => {
  if (document.hidden || document.querySelector("#live").contains(document.activeElement)) return;
  const answer = await fetch("/progress").catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.querySelector("#live").replaceWith(page.querySelector("#live"));
}, 10000);

// Requests to the application: the session's token goes with whatever changes something.

const token = document.querySelector("meta[name=csrf]").content;

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// keepalive: an answer that is under way outlives a reload of the page.
export async function post(address, body) {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "X-CSRF-Token": token, "Content-Type": "application/json" },
    body: JSON.stringify(body ?? {}),
    keepalive: true,
  });
  const found = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(found.error ?? found.detail ?? `error ${answer.status}`, answer.status);
  return found;
}

export async function pixels(image, frame) {
  const answer = await fetch(`/api/pixels/${image}${frame === null ? "" : `?frame=${frame}`}`);
  if (!answer.ok) {
    const found = await answer.json().catch(() => ({}));
    throw new Refused(found.error ?? `error ${answer.status}`, answer.status);
  }
  return answer.arrayBuffer();
}

// An element with text; never markup from a record.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((one) => one !== null && one !== undefined));
  return made;
}

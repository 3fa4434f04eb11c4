// The images of a scored case.

import { Viewer } from "./viewer.js";

const work = document.querySelector("#work");
const numbers = work.dataset.images.split(",").filter(Boolean).map(Number);
if (numbers.length) {
  const viewer = new Viewer(document.querySelector("#viewer"));
  viewer.show(numbers, "Image of the case");
  document.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) viewer.key(event.key);
  });
} else work.classList.add("text");

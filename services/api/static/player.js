// Plays the crops of a sighting while the pointer or the focus is on it; on a touch screen the first tap plays, the second follows the link.
"use strict";

const STEP_MS = 350;
const players = new Map(); // link → how to stop

function play(link) {
  if (players.has(link)) return;
  const image = link.querySelector("img");
  const first = image.getAttribute("src");
  const crops = [...new Set([first, ...link.dataset.crops.split(" ").filter(Boolean)])];
  let shown = 0;
  const step = () => { shown = (shown + 1) % crops.length; image.src = crops[shown]; };
  const timer = crops.length > 1 ? setInterval(step, STEP_MS) : 0;
  link.classList.add("playing");
  players.set(link, () => { clearInterval(timer); image.src = first; link.classList.remove("playing"); });
}

function stop(link) {
  players.get(link)?.();
  players.delete(link);
}

const isCalm = matchMedia("(prefers-reduced-motion: reduce)");
document.querySelectorAll("a[data-crops]").forEach((link) => {
  const start = () => { if (!isCalm.matches) play(link); };
  link.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch") start(); });
  link.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") stop(link); });
  link.addEventListener("focus", () => { if (link.matches(":focus-visible")) start(); });
  link.addEventListener("blur", () => stop(link));
  link.addEventListener("click", (event) => {
    if (event.pointerType !== "touch" || players.has(link)) return;
    event.preventDefault();
    [...players.keys()].forEach(stop);
    play(link);
  });
});

// Keeps the camera wall fresh while somebody sees it: one question a second for all cameras, the next one only after the
// answer to the last. Pictures that nobody sees are not loaded: they would be most of the first page.
"use strict";

const PAUSE_MS = 1000;
const PATIENCE_MS = 8000;
const wall = document.querySelector("[data-wall]");
const stale = document.querySelector("[data-stale]");
let isSeen = false;
let timer = 0;

// Pictures are loaded before they are shown, so that boxes never stand over the picture before theirs.
function loaded(image) {
  return new Promise((resolve) => {
    image.onload = image.onerror = resolve;
    if (image.complete) resolve();
  });
}

async function refresh() {
  const reply = await fetch("/cameras/wall", { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (reply.redirected || reply.status === 401) location.reload(); // the login has ended
  if (!reply.ok) throw new Error(`${reply.status}`);
  const fresh = document.createElement("div");
  fresh.innerHTML = await reply.text();
  await Promise.all([...fresh.querySelectorAll("img")].map(loaded));
  const focused = wall.contains(document.activeElement) ? document.activeElement.id : "";
  wall.replaceChildren(...fresh.childNodes);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

async function keepFresh() {
  clearTimeout(timer);
  timer = -1; // at work
  try {
    if (isSeen && !document.hidden) await refresh();
    stale.hidden = true;
  } catch {
    stale.hidden = false; // the next round tries again
  }
  timer = setTimeout(keepFresh, PAUSE_MS);
}

new IntersectionObserver((entries) => {
  isSeen = entries[entries.length - 1].isIntersecting;
  if (isSeen && timer !== -1 && !wall.firstElementChild?.matches("ul, p")) keepFresh(); // nothing is shown yet
}).observe(wall);
timer = setTimeout(keepFresh, PAUSE_MS);

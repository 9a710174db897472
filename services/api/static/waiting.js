// Asks again for a page that waits for the matcher, tells how far it has come, and shows the new one at the end.
"use strict";

const waiting = document.querySelector("[data-waits]");

async function look() {
  const reply = await fetch(location.href).catch(() => null);
  const page = reply?.ok ? new DOMParser().parseFromString(await reply.text(), "text/html") : null;
  const still = page?.querySelector("[data-waits]");
  if (page && !still) { location.reload(); return; }
  if (still && still.textContent !== waiting.textContent) waiting.textContent = still.textContent;
  setTimeout(look, 1000);
}

setTimeout(look, 500);

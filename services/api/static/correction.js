// Waits until the matcher has applied a correction, then shows what came of it.
"use strict";

const waiting = document.querySelector("[data-waits]");

async function look() {
  const reply = await fetch(`/api/v1/corrections/${waiting.dataset.waits}`).catch(() => null);
  const correction = reply?.ok ? await reply.json() : null;
  if (correction && correction.applied_at !== null) location.reload();
  else setTimeout(look, 1000);
}

setTimeout(look, 500);

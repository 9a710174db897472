// Shows alerts as they are raised. The feed says that there is one; the server draws the list.
"use strict";

const list = document.querySelector("[data-list]");
const news = document.querySelector("[data-news]");
let isAsking = false;
let isStale = false;

async function redraw() {
  if (isAsking) { isStale = true; return; }
  isAsking = true;
  try {
    const reply = await fetch(list.dataset.address);
    if (reply.ok && !reply.redirected) {
      const focused = list.contains(document.activeElement) ? document.activeElement.id : "";
      list.innerHTML = await reply.text();
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    }
  } finally {
    isAsking = false;
    if (isStale) { isStale = false; redraw(); }
  }
}

const feed = new EventSource(`/api/v1/alerts/feed?after=${list.dataset.after}`);
feed.addEventListener("alert", (event) => {
  const alert = JSON.parse(event.data);
  news.textContent = `New alert: person ${alert.global_id} at ${alert.camera_id}`;
  redraw().catch(() => {}); // the next alert tries again
});

// Keeps the camera wall fresh: pictures as fast as they arrive but at most one each second and a half, words with them.
"use strict";

const PAUSE_MS = 1500;

function refreshPicture(image) {
  const address = image.src.split("?")[0];
  const next = new Image();
  const again = () => setTimeout(() => refreshPicture(image), PAUSE_MS);
  next.onload = () => { image.src = next.src; again(); };
  next.onerror = again;
  if (document.hidden) again();
  else next.src = `${address}?at=${Date.now()}`;
}

async function refreshWords() {
  try {
    const response = await fetch("/api/v1/cameras", { headers: { Accept: "application/json" } });
    if (!response.ok) return;
    for (const camera of await response.json()) {
      const tile = document.querySelector(`[data-camera="${CSS.escape(camera.camera_id)}"]`);
      if (!tile) continue;
      tile.querySelector("[data-words]").textContent = camera.summary;
      tile.querySelector("[data-dot]").className = `dot ${camera.light}`;
      tile.querySelector("[data-error]").textContent = camera.light === "live" ? "" : camera.last_error;
    }
  } catch {
    // The API is away for a moment; the next round tries again.
  }
}

document.querySelectorAll("img[data-live]").forEach((image) => setTimeout(() => refreshPicture(image), PAUSE_MS));
setInterval(() => { if (!document.hidden) refreshWords(); }, 2000);

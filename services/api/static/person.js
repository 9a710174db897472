// Reasons appear where they are asked for. Without this file a link leads to their page.
"use strict";

document.querySelectorAll("details[data-why]").forEach((details) => {
  details.addEventListener("toggle", async () => {
    const place = details.querySelector("[data-reasons]");
    if (!details.open || !place) return;
    const reply = await fetch(details.dataset.why, { headers: { Accept: "text/html" } }).catch(() => null);
    if (!reply?.ok) return; // the link to the page of reasons stays
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    const reasons = page.querySelector(".reasons");
    if (reasons) { reasons.removeAttribute("id"); place.replaceWith(reasons); }
  });
});

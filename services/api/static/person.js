// Reasons appear where they are asked for, and erasing tells first what it would remove.
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

const erase = document.querySelector("form[data-erase]");
erase?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const isRehearsal = event.submitter.value === "rehearse";
  const told = erase.querySelector("[data-told]");
  const said = { global_id: Number(erase.dataset.erase), made_by: erase.dataset.by, why: erase.elements.why.value, dry_run: isRehearsal };
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": erase.dataset.csrf };
  event.submitter.disabled = true;
  try {
    const reply = await fetch("/api/v1/erasures", { method: "POST", headers, body: JSON.stringify(said) });
    const answer = await reply.json();
    told.textContent = reply.ok ? answer.summary : `${answer.error.found}. Expected: ${answer.error.expected}. ${answer.error.to_do}.`;
    if (reply.ok) erase.querySelector("[value=erase]").hidden = !isRehearsal;
    if (reply.ok && answer.receipt) follow(answer.receipt.number, told);
  } catch {
    told.textContent = "The API does not answer; nothing was removed. Try again in a moment.";
  }
  event.submitter.disabled = false;
});

async function follow(number, told) {
  const reply = await fetch(`/api/v1/erasures/${number}`).catch(() => null);
  const answer = reply?.ok ? await reply.json() : null;
  if (answer) told.textContent = answer.summary;
  if (!answer || answer.receipt.finished_at === null) setTimeout(() => follow(number, told), 2000);
}

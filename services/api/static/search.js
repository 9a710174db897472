// Filters answer at once, and a picture may be dropped or pasted. Without this file the form does the same by its buttons.
"use strict";

document.documentElement.classList.add("scripted");
const form = document.querySelector("form[data-search]");
const picture = form.querySelector("input[type=file]");
const words = form.querySelector("input[type=search]");
const isAnswered = location.search !== "";

function take(files) {
  const image = [...files].find((file) => file.type.startsWith("image/"));
  if (!image) return;
  const chosen = new DataTransfer();
  chosen.items.add(image);
  picture.files = chosen.files;
  form.requestSubmit();
}

form.addEventListener("change", (event) => {
  if (event.target.name === "cameras" && isAnswered) form.requestSubmit();
});
form.addEventListener("dragover", (event) => { event.preventDefault(); form.classList.add("dropping"); });
form.addEventListener("dragleave", (event) => { if (!form.contains(event.relatedTarget)) form.classList.remove("dropping"); });
form.addEventListener("drop", (event) => {
  event.preventDefault();
  form.classList.remove("dropping");
  take(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) take(event.clipboardData.files); });
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !isTyping) { event.preventDefault(); words.focus(); words.select(); }
});

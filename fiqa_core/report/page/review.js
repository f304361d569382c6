// What a person decides about faces, by the SHA-256 of their bytes, and review.csv.
const reviewed = new Map();
const tilesOf = new Map();
let unsaved = false;

for (const entry of data.review) {
  reviewed.set(entry.sha256, { verdict: entry.verdict, label: entry.label, note: entry.note });
}

function reviewControls(figure, face, looksLike) {
  const digest = face.sha256;
  if (!tilesOf.has(digest)) tilesOf.set(digest, new Set());
  tilesOf.get(digest).add(figure);
  figure.dataset.sha256 = digest;
  const buttons = element("div", "buttons");
  for (const verdict of ["keep", "drop"]) {
    const button = element("button", "", verdict === "keep" ? "Keep" : "Drop");
    button.type = "button";
    button.dataset.verdict = verdict;
    button.setAttribute("aria-label", button.textContent + " " + visible(face.key === undefined ? "this face" : face.key));
    button.addEventListener("click", () => {
      const now = reviewed.get(digest);
      change(digest, { verdict: now && now.verdict === verdict ? "" : verdict });
    });
    buttons.append(button);
  }
  const edit = element("button", "", "Label…");
  edit.type = "button";
  edit.setAttribute("aria-expanded", "false");
  const fields = element("div");
  fields.hidden = true;
  edit.addEventListener("click", () => {
    fields.hidden = !fields.hidden;
    edit.setAttribute("aria-expanded", String(!fields.hidden));
    if (!fields.hidden) fields.querySelector("input").focus();
  });
  buttons.append(edit);
  if (looksLike) {
    const other = element("button", "", "→ " + visible(looksLike));
    other.type = "button";
    other.title = "give it the label " + visible(looksLike);
    other.dataset.looksLike = "";
    other.addEventListener("click", () => change(digest, { label: looksLike }));
    buttons.append(other);
  }
  fields.append(field(digest, "label", "Right label"), field(digest, "note", "Note"));
  figure.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const verdict = { k: "keep", d: "drop" }[event.key];
    if (verdict) change(digest, { verdict });
  });
  figure.tabIndex = 0;
  show(figure, digest);
  return [buttons, fields];
}

function field(digest, name, text) {
  const label = element("label", "", text);
  const input = element("input");
  input.dataset.field = name;
  input.autocomplete = "off";
  input.spellcheck = false;
  const now = reviewed.get(digest);
  input.value = now ? now[name] : "";
  input.addEventListener("input", () => change(digest, { [name]: input.value }));
  label.append(input);
  return label;
}

function change(digest, part) {
  const now = { verdict: "", label: "", note: "", ...reviewed.get(digest), ...part };
  if (now.verdict || now.label || now.note) reviewed.set(digest, now);
  else reviewed.delete(digest);
  unsaved = true;
  for (const figure of tilesOf.get(digest) || []) {
    if (figure.isConnected) show(figure, digest);
    else tilesOf.get(digest).delete(figure);
  }
  countReviewed();
}

function show(figure, digest) {
  const now = reviewed.get(digest) || { verdict: "", label: "", note: "" };
  const shown = now.verdict || (now.label ? "label" : "");
  if (shown) figure.dataset.verdict = shown;
  else delete figure.dataset.verdict;
  for (const button of figure.querySelectorAll("button[data-verdict]")) {
    button.setAttribute("aria-pressed", String(button.dataset.verdict === now.verdict));
  }
  for (const button of figure.querySelectorAll("button[data-looks-like]")) {
    button.setAttribute("aria-pressed", String(now.label !== "" && button.textContent === "→ " + visible(now.label)));
  }
  for (const input of figure.querySelectorAll("input[data-field]")) {
    if (input.value !== now[input.dataset.field]) input.value = now[input.dataset.field];
  }
}

function countReviewed() {
  const count = reviewed.size;
  byId("review-count").textContent = count === 0 ? "No face reviewed." :
    grouped(count) + (count === 1 ? " face" : " faces") + " reviewed" + (unsaved ? ", not saved yet." : ".");
  byId("save").disabled = count === 0 && !unsaved;
}

// A cell as spreadsheets and the filter read it: one that looks like a formula has an apostrophe before it.
function cell(text) {
  const risky = /^[=+\-@\t\r\n'\uff1d\uff0b\uff0d\uff20]/.test(text) && !/^[+-]?[0-9]+(\.[0-9]+)?$/.test(text);
  const safe = risky ? "'" + text : text;
  return /[\u0000-\u001f\u007f\u0085\u2028\u2029",;]|^\s|\s$/.test(safe) ? '"' + safe.replaceAll('"', '""') + '"' : safe;
}

function reviewFile() {
  const lines = ["sha256,verdict,label,note"];
  for (const digest of [...reviewed.keys()].sort()) {
    const { verdict, label, note } = reviewed.get(digest);
    lines.push([digest, verdict, cell(label), cell(note)].join(","));
  }
  return lines.join("\r\n") + "\r\n";
}

function save() {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([reviewFile()], { type: "text/csv;charset=utf-8" }));
  link.download = "review.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  unsaved = false;
  countReviewed();
}

function startReview() {
  byId("save").addEventListener("click", save);
  window.addEventListener("beforeunload", (event) => {
    if (unsaved) event.preventDefault();
  });
  countReviewed();
}

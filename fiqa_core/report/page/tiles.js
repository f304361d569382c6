// Faces as elements. Names come from untrusted files: they are set as text, never as HTML.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const grouped = (number) => number.toLocaleString("en-US");

// Control characters, line breaks, and characters that change the reading direction are shown as escapes.
function visible(text) {
  return String(text).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (found) => "\\u" + found.charCodeAt(0).toString(16).padStart(4, "0"));
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function named(text, title) {
  const line = element("span");
  line.append(element("bdi", "", visible(text)));
  line.title = (title ? title + ": " : "") + visible(text);
  return line;
}

function picture(face) {
  if (!face.image) return element("div", "missing", visible(face.note || "no image"));
  const image = element("img");
  image.alt = "face of quality " + (face.quality === undefined ? "unknown" : face.quality);
  image.width = image.height = 96;
  image.decoding = "async";
  image.src = "data:image/" + (face.kind === "png" ? "png" : "jpeg") + ";base64," + face.image;
  if (face.note) image.title = visible(face.note);
  return image;
}

// A face: picture, quality, label, key, and what a person decides about it.
function tile(rid, role, looksLike) {
  const face = data.faces[rid];
  const figure = element("figure", "face");
  if (!face) return figure;
  const caption = element("figcaption");
  if (role) caption.append(element("span", "role", role));
  caption.append(element("span", "", face.quality === undefined ? face.status : "quality " + face.quality.toPrecision(4)));
  if (face.label !== undefined) caption.append(named(face.label, "label"));
  if (face.before !== undefined && face.before !== face.label) caption.append(named("was " + face.before, "label before"));
  if (face.key !== undefined) caption.append(named(face.key, (face.shard || "") + " index " + face.index));
  if (face.reviewed) caption.append(element("span", "role", "reviewed: " + face.reviewed));
  if (face.sentence) caption.append(element("span", "why", visible(face.sentence)));
  figure.append(picture(face), caption);
  if (face.sha256) figure.append(...reviewControls(figure, face, looksLike));
  return figure;
}

function fill(gallery, tiles) {
  gallery.replaceChildren(...tiles);
  if (!tiles.length) gallery.append(element("p", "note", "none"));
}

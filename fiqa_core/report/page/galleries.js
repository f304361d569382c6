// Galleries are made when they come near the window, so that a report with thousands of faces opens at once.
function whenNear(node, make) {
  const watch = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    watch.disconnect();
    make();
  }, { rootMargin: "800px" });
  watch.observe(node);
}

function itemOf(item) {
  const box = element("div", "item");
  box.append(tile(item.rid, item.role, item.looksLike));
  for (const other of item.beside) box.append(tile(other.rid, other.role));
  box.append(element("p", "", visible(item.why)));
  return box;
}

function startGalleries() {
  for (const gallery of document.querySelectorAll("[data-reason]")) {
    const items = data.dropped[gallery.dataset.reason] || [];
    whenNear(gallery, () => paged(gallery, items, itemOf, gallery.dataset.reason));
  }
  for (const note of document.querySelectorAll("[data-shown]")) {
    const code = note.dataset.shown;
    const count = code === "reviewed" ? data.reviewed.length : (data.dropped[code] || []).length;
    const total = Number(note.dataset.total || count);
    note.textContent = "Shown: " + grouped(count) + (count < total ?
      " of " + grouped(total) + ". Decide about these, filter again with --review, and the next report shows others." : ".");
  }
  const sheets = byId("tenth-sheets");
  if (sheets) sheets.replaceChildren(...data.tenths.map(sheet));
  const faces = byId("reviewed-faces");
  if (faces) whenNear(faces, () => paged(faces, data.reviewed, (rid) => tile(rid), "what was reviewed"));
  for (const kind of ["split", "merge"]) {
    for (const gallery of document.querySelectorAll("[data-" + kind + "]")) {
      const sides = data[kind + "s"][Number(gallery.dataset[kind])];
      whenNear(gallery, () => fill(gallery, sides[Number(gallery.dataset.side)].map((rid) => tile(rid))));
    }
  }
}

function sheet(tenth, place) {
  const box = element("section");
  const name = (place + 1) + " of " + data.tenths.length;
  box.append(element("h3", "", name + ": quality " +
    tenth.low.toPrecision(4) + " to " + tenth.high.toPrecision(4) + ", " + grouped(tenth.rows) + " images" +
    (tenth.rids.length < tenth.rows ? ", " + grouped(tenth.rids.length) + " shown" : "")));
  const gallery = element("div", "gallery");
  box.append(gallery);
  whenNear(gallery, () => paged(gallery, tenth.rids, (rid) => tile(rid), name));
  return box;
}

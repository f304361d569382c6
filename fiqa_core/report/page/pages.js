// Long galleries: a page at a time, in an order that the reader chooses. Every face of the file can be reached.
const FACES_A_PAGE = 48;
const ORDERS = {
  "as found": null,
  "worst quality first": (a, b) => qualityOf(a) - qualityOf(b),
  "best quality first": (a, b) => qualityOf(b) - qualityOf(a),
  "by label": (a, b) => byName(labelOf(a), labelOf(b)),
};
const byName = new Intl.Collator("en", { numeric: true }).compare;
const ridOf = (item) => typeof item === "object" ? item.rid : item;
const qualityOf = (item) => data.faces[ridOf(item)].quality ?? -Infinity;
const labelOf = (item) => data.faces[ridOf(item)].label ?? "";

// Items are rids or what `data.dropped` has; `make` turns one into an element.
function paged(gallery, items, make, name) {
  if (items.length <= FACES_A_PAGE) {
    fill(gallery, items.map(make));
    return;
  }
  let ordered = items;
  let page = 0;
  const pages = Math.ceil(items.length / FACES_A_PAGE);
  const bar = element("div", "row pages");
  const place = element("span");
  place.setAttribute("role", "status");
  const button = (text, step) => {
    const made = element("button", "", text);
    made.type = "button";
    made.setAttribute("aria-label", text + " faces of " + name);
    made.addEventListener("click", () => { page += step; draw(); });
    return made;
  };
  const before = button("Previous", -1);
  const after = button("Next", 1);
  const label = element("label", "", "Order ");
  const select = element("select");
  for (const text of Object.keys(ORDERS)) select.append(element("option", "", text));
  select.addEventListener("change", () => {
    const compare = ORDERS[select.value];
    ordered = compare ? [...items].sort(compare) : items;
    page = 0;
    draw();
  });
  label.append(select);
  bar.append(before, place, after, label);
  gallery.after(bar);

  function draw() {
    const first = page * FACES_A_PAGE;
    const here = ordered.slice(first, first + FACES_A_PAGE);
    fill(gallery, here.map(make));
    place.textContent = grouped(first + 1) + " to " + grouped(first + here.length) + " of " + grouped(items.length);
    before.disabled = page === 0;
    after.disabled = page >= pages - 1;
  }
  draw();
}

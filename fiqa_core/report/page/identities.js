// The table of identities: sorted by any column, searched by name, a page at a time.
const PAGE = 50;

function startIdentities() {
  const table = byId("identity-table");
  if (!table) return;
  const columns = data.identities;
  const names = [...table.querySelectorAll("button[data-column]")].map((button) => button.dataset.column);
  const lower = columns.label.map((label) => label.toLowerCase());
  const byLabel = new Intl.Collator("en", { numeric: true }).compare;
  const state = { by: "mean", down: false, page: 0 };
  let order = [];

  function compare(a, b) {
    const values = columns[state.by];
    const found = state.by === "label" ? byLabel(values[a], values[b]) : values[a] - values[b];
    return (state.down ? -found : found) || a - b;
  }

  function choose() {
    const wanted = byId("identity-search").value.trim().toLowerCase();
    order = [...lower.keys()].filter((place) => lower[place].includes(wanted)).sort(compare);
    state.page = 0;
    draw();
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(order.length / PAGE));
    const rows = order.slice(state.page * PAGE, (state.page + 1) * PAGE).map((place) => {
      const row = element("tr");
      for (const name of names) {
        const value = columns[name][place];
        const field = element("td", name === "label" ? "" : "n");
        if (name === "label") field.append(element("bdi", "", visible(value)));
        else field.textContent = name === "images" || name === "kept" ? grouped(value) : value.toFixed(4);
        row.append(field);
      }
      return row;
    });
    table.tBodies[0].replaceChildren(...rows);
    byId("identity-count").textContent = grouped(order.length) + (order.length === 1 ? " identity" : " identities");
    byId("identity-page").textContent = "page " + (state.page + 1) + " of " + pages;
    byId("identity-before").disabled = state.page === 0;
    byId("identity-after").disabled = state.page >= pages - 1;
    for (const button of table.querySelectorAll("button[data-column]")) {
      const sorted = button.dataset.column === state.by ? (state.down ? "descending" : "ascending") : "none";
      button.closest("th").setAttribute("aria-sort", sorted);
    }
  }

  for (const button of table.querySelectorAll("button[data-column]")) {
    button.addEventListener("click", () => {
      state.down = state.by === button.dataset.column && !state.down;
      state.by = button.dataset.column;
      choose();
    });
  }
  byId("identity-search").addEventListener("input", choose);
  byId("identity-before").addEventListener("click", () => { state.page -= 1; draw(); });
  byId("identity-after").addEventListener("click", () => { state.page += 1; draw(); });
  choose();
}

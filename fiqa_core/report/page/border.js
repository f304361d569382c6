// The threshold: exact counts, made with the report, and the nearest of the faces that the report holds.
const SIDE_BY_SIDE = 12;

function startBorder() {
  const slider = byId("threshold");
  const found = data.thresholds;
  if (!slider || !found) return;
  slider.max = found.values.length - 1;
  slider.value = found.start;
  const faces = data.border.filter((rid) => data.faces[rid] && data.faces[rid].quality !== undefined);
  const update = () => {
    const place = Number(slider.value);
    const base = found[byId("threshold-base").value];
    const identities = base.identities[byId("least-images").value];
    byId("threshold-value").textContent = found.values[place];
    slider.setAttribute("aria-valuetext", "threshold " + found.values[place] + " keeps " + base.images[place] + " images");
    byId("kept-images").textContent = grouped(base.images[place]);
    byId("dropped-images").textContent = grouped(base.images[0] - base.images[place]);
    byId("kept-identities").textContent = grouped(identities[place]);
    byId("lost-identities").textContent = grouped(identities[0] - identities[place]);
    if (found.meaning) {
      const at = (name) => found.meaning[name][place];
      const percent = (share) => Number((100 * share).toPrecision(3)) + " %";
      byId("threshold-percentile").textContent = Number(at("percentile").toPrecision(3));
      byId("threshold-fnmr").textContent = percent(at("fnmr")) +
        (found.meaning.low ? " (" + percent(at("low")) + " to " + percent(at("high")) + ")" : "");
    }
    const threshold = Number(found.values[place]);
    let first = faces.findIndex((rid) => data.faces[rid].quality >= threshold);
    if (first < 0) first = faces.length;
    fill(byId("above"), faces.slice(first, first + SIDE_BY_SIDE).map((rid) => tile(rid)));
    fill(byId("below"), faces.slice(Math.max(0, first - SIDE_BY_SIDE), first).reverse().map((rid) => tile(rid)));
  };
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; update(); });
  };
  slider.addEventListener("input", soon);
  byId("threshold-base").addEventListener("change", update);
  byId("least-images").addEventListener("change", update);
  update();
}

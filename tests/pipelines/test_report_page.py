"""The report in a real browser: what a person sees, moves, ticks and saves; nothing is loaded and nothing is run."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fiqa_core.report.settings import MOST_BYTES
from pipelines import filter_dataset, report_dataset
from tests.fiqa_core.curation.tables import frame, write_quality
from tests.makers.reports import FACES, HOSTILE, scored_faces

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
WIDTHS = (400, 1600)
# A frame is drawn, and what waited for it is done.
DRAWN = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
SHOW_EVERYTHING = """async () => {
  const frames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  for (const node of document.querySelectorAll("main section, .gallery")) {
    node.scrollIntoView();
    await frames();
    while (node.matches(".gallery") && !node.childElementCount) await frames();
  }
}"""
PATIENCE = 180_000  # ms: a busy machine needs longer than Playwright's 30 s


class Opened:
    """A report in a page: `page`, and what happened there that should not (`faults`, `requests`)."""

    def __init__(self, page, path: Path) -> None:
        self.page, self.faults, self.requests = page, [], []
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: self.faults.append(message.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_function("'ready' in document.documentElement.dataset")

    def text(self, where: str) -> str:
        return self.page.locator(where).inner_text()

    def number(self, where: str) -> int:
        return int(self.text(where).replace(",", ""))

    def drawn(self) -> None:
        """Wait until what was done is on the screen."""
        self.page.evaluate(DRAWN)

    def scroll_through(self) -> None:
        """Show every gallery, and wait until it is made."""
        self.page.evaluate(SHOW_EVERYTHING)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser) -> Iterator:
    pages = []

    def open_(path: Path, width: int = 1600) -> Opened:
        pages.append(browser.new_page(viewport={"width": width, "height": 900}, accept_downloads=True))
        return Opened(pages[-1], path)

    yield open_
    for page in pages:
        page.close(run_before_unload=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def scores(folder) -> Path:
    return scored_faces(folder)


@pytest.fixture(scope="module")
def middle(scores) -> np.float32:
    return np.float32(pd.read_parquet(scores / "quality").quality.median())


@pytest.fixture(scope="module")
def clean(folder, scores, middle) -> Path:
    """Decisions: a threshold in the middle, and exact duplicates."""
    options = ["--quality", str(scores), "--output", str(folder / "clean")]
    assert filter_dataset.run([*options, f"--min-quality={middle}", "--exact-duplicates", "all"]) == 0
    return folder / "clean"


@pytest.fixture(scope="module")
def report(folder, scores, clean) -> Path:
    place = folder / "report.html"
    options = ["--quality", str(scores), "--decisions", str(clean), "--group-by", "label", "width"]
    assert report_dataset.run([*options, "--title", HOSTILE[0], "--output", str(place)]) == 0
    return place


def data_of(report: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', report.read_text("utf-8"), re.S)
    return json.loads(found[1])


def rows_of(clean: Path) -> pd.DataFrame:
    return pd.concat(map(pd.read_parquet, sorted((clean / "decisions").iterdir())))


def test_the_counts_of_every_threshold_are_those_of_pandas(report, clean):
    rows, found = rows_of(clean), data_of(report)["thresholds"]
    rest = rows[rows.reason.isna() | (rows.reason == "below_threshold")]
    assert len(found["values"]) > 40
    for place, value in enumerate(found["values"]):
        for name, base in (("all", rows), ("rest", rest)):
            kept = base[base.quality >= np.float32(value)]
            assert found[name]["images"][place] == len(kept)
            sizes = kept.groupby("label").size()
            assert {n: c[place] for n, c in found[name]["identities"].items()} == {
                str(least): int((sizes >= least).sum()) for least in (1, 2, 3, 5, 10)
            }


def test_a_report_is_one_file_below_its_limit_and_is_not_overwritten_unasked(report, scores, clean, caplog):
    assert report.stat().st_size < MOST_BYTES
    before = report.read_bytes()
    assert report_dataset.run(["--quality", str(scores), "--output", str(report)]) == 2
    assert "--overwrite" in caplog.text
    assert report.read_bytes() == before
    assert not (report.parent / "_tmp").exists()


def test_decisions_of_another_table_and_columns_that_are_not_there_are_refused(scores, clean, tmp_path, caplog):
    other = write_quality(tmp_path / "other", frame([0.1, 0.2]))
    place = tmp_path / "r.html"
    assert report_dataset.run(["--quality", str(other), "--decisions", str(clean), "--output", str(place)]) == 2
    assert "Give the tables that fiqa filter had" in caplog.text
    options = ["--quality", str(scores), "--output", str(place), "--overwrite"]
    assert report_dataset.run([*options, "--group-by", "nothing"]) == 2
    assert "--group-by nothing" in caplog.text
    assert report_dataset.run([*options, "--decisions", str(scores)]) == 2
    assert "not the output of fiqa filter" in caplog.text
    assert report_dataset.run([*options, "--edc", str(scores)]) == 2
    assert "not the output of fiqa evaluate" in caplog.text


@needs_browser
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_requested_logged_or_run_and_nothing_is_wider_than_the_window(report, opened, width):
    page = opened(report, width)
    page.scroll_through()
    assert page.faults == []
    assert [url for url in page.requests if not url.startswith("data:")] == [report.as_uri()]
    assert page.page.evaluate("window.hacked") is None
    assert page.page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.page.locator("img[onerror], b[onmouseover], main script").count() == 0


@needs_browser
def test_hostile_names_are_shown_as_text(report, opened):
    page = opened(report)
    page.scroll_through()
    assert page.text("h1") == HOSTILE[0]
    labels = page.page.locator("#identity-table tbody td:first-child").all_inner_texts()
    shown = [label.replace("\u202e", "\\u202e").replace("\u202c", "\\u202c") for label in HOSTILE]
    assert sorted(labels) == sorted(shown)
    assert "\u202e" not in page.page.locator("body").inner_text()
    keys = page.page.locator("#tenths .face figcaption").first.text_content()
    assert "<b>key&" in keys


@needs_browser
def test_the_slider_moves_images_and_identities_kept_as_pandas_counts_them(report, clean, opened):
    rows, page = rows_of(clean), opened(report)
    slider = page.page.locator("#threshold")
    last = int(slider.get_attribute("max"))
    for place in (0, last // 3, 2 * last // 3, last):
        slider.evaluate("(node, value) => { node.value = value; node.dispatchEvent(new Event('input')); }", place)
        page.drawn()
        threshold = np.float32(page.text("#threshold-value"))
        kept = rows[rows.quality >= threshold]
        assert page.number("#kept-images") == len(kept)
        assert page.number("#dropped-images") == FACES - len(kept)
        assert page.number("#kept-identities") == kept.label.nunique()
    page.page.locator("#least-images").select_option("3")
    assert page.number("#kept-identities") == int((kept.groupby("label").size() >= 3).sum())


@needs_browser
def test_the_slider_begins_at_the_runs_threshold_and_the_border_lies_beside_it(report, clean, middle, opened):
    page = opened(report)
    assert np.float32(page.text("#threshold-value")) == middle
    below, above = (
        [float(re.search(r"quality (\S+)", text)[1]) for text in page.page.locator(f"#{side} .face").all_inner_texts()]
        for side in ("below", "above")
    )
    rows = rows_of(clean).quality
    assert below == [float(f"{q:.4g}") for q in sorted(rows[rows < middle], reverse=True)[:12]]
    assert above == [float(f"{q:.4g}") for q in sorted(rows[rows >= middle])[:12]]


@needs_browser
def test_the_keyboard_moves_the_slider_and_decides_about_faces(report, opened):
    page = opened(report)
    page.page.locator("#threshold").focus()
    before = page.text("#threshold-value")
    page.page.keyboard.press("ArrowRight")
    page.drawn()
    assert float(page.text("#threshold-value")) > float(before)
    face = page.page.locator("#above .face").first
    face.focus()
    page.page.keyboard.press("d")
    assert face.get_attribute("data-verdict") == "drop"
    page.page.keyboard.press("Tab")
    page.page.keyboard.press("Space")
    assert face.get_attribute("data-verdict") == "keep"
    assert page.text("#review-count") == "1 face reviewed, not saved yet."


@needs_browser
def test_every_face_of_a_long_gallery_is_reached_by_its_pages_in_any_order(scores, opened, tmp_path):
    options = ["--quality", str(scores), "--output", str(tmp_path / "none"), "--min-quality", "2"]
    assert filter_dataset.run(options) == 0
    place = tmp_path / "r.html"
    options = ["--quality", str(scores), "--decisions", str(tmp_path / "none"), "--output", str(place)]
    assert report_dataset.run(options) == 0
    page = opened(place, 400)
    page.scroll_through()
    section = page.page.locator("#reason-below_threshold")
    assert section.locator("[data-shown]").inner_text() == f"Shown: {FACES}."
    faces, status = section.locator(".face"), section.get_by_role("status")
    before, after = (section.get_by_role("button", name=name) for name in ("Previous", "Next"))
    keys = [face.get_attribute("data-sha256") for face in faces.all()]
    assert (before.is_disabled(), status.inner_text()) == (True, f"1 to 48 of {FACES}")
    after.focus()
    page.page.keyboard.press("Enter")
    assert (after.is_disabled(), status.inner_text()) == (True, f"49 to {FACES} of {FACES}")
    keys += [face.get_attribute("data-sha256") for face in faces.all()]
    rows = rows_of(tmp_path / "none")
    assert sorted(keys) == sorted(rows.sha256.map(bytes.hex))
    section.get_by_label("Order").select_option("worst quality first")
    shown = [float(re.search(r"quality (-?[0-9.]+)", text)[1]) for text in faces.all_text_contents()]
    assert shown == [float(f"{q:.4g}") for q in sorted(rows.quality)[:48]]
    assert page.faults == []


@needs_browser
def test_a_column_of_measures_with_a_hostile_name_is_text_in_the_sentence_under_a_face(scores, opened, tmp_path):
    (file,) = (scores / "quality").iterdir()
    table = pq.read_table(file)
    field = pa.field(HOSTILE[1], pa.float64(), metadata={"direction": "higher = better", "unit": HOSTILE[2]})
    table = table.append_column(field, pa.array(np.arange(table.num_rows, dtype=np.float64)))
    (tmp_path / "q").mkdir()
    pq.write_table(table, tmp_path / "q" / "part.parquet")
    place = tmp_path / "r.html"
    options = ["--quality", str(tmp_path / "q"), "--group-by", HOSTILE[1], "--output", str(place)]
    assert report_dataset.run(options) == 0
    page = opened(place, 400)
    page.scroll_through()
    sentences = page.page.locator("#tenths .face .why").all_text_contents()
    assert any(text.startswith("Low in " + HOSTILE[1][:20]) for text in sentences)
    assert any(text.startswith("None of 2 measures is") for text in sentences)
    assert page.page.evaluate("window.hacked") is None
    assert page.page.locator("img[onerror], b[onmouseover], main script").count() == 0
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.faults == []


@needs_browser
def test_identities_are_sorted_and_searched(report, clean, opened):
    page = opened(report)
    page.scroll_through()  # galleries are made as they come near; afterwards nothing moves under the pointer
    scored = rows_of(clean).groupby("label").quality
    means = page.page.locator("#identity-table tbody tr td:nth-child(4)")
    expected = sorted(f"{mean:.4f}" for mean in scored.mean())
    assert means.all_inner_texts() == expected
    page.page.get_by_role("button", name="mean").click()
    assert means.all_inner_texts() == expected[::-1]
    page.page.get_by_role("searchbox").fill("PLAIN")
    assert page.page.locator("#identity-table tbody tr").count() == 1
    assert page.text("#identity-count") == "1 identity"


@needs_browser
def test_a_duplicate_is_shown_beside_the_face_that_stays(report, clean, opened):
    page = opened(report)
    page.scroll_through()
    items = page.page.locator("[data-reason=duplicate_exact] .item")
    rows = rows_of(clean)
    assert items.count() == (rows.reason == "duplicate_exact").sum() > 0
    pictures = items.first.locator("img").evaluate_all("nodes => nodes.map(node => node.src)")
    assert len(pictures) == 2
    assert pictures[0] == pictures[1]
    assert "stays" in items.first.text_content()


@needs_browser
def test_a_review_saved_on_the_page_is_obeyed_and_the_next_report_shows_it(report, scores, clean, opened, tmp_path):
    page = opened(report)
    faces = page.page.locator("#below .face")
    chosen = [faces.nth(place).get_attribute("data-sha256") for place in range(2)]
    best = page.page.locator("#above .face").first
    faces.nth(0).get_by_role("button", name="Keep").click()
    faces.nth(1).get_by_role("button", name="Label").click()
    faces.nth(1).get_by_label("Right label").fill('=hers, "really"')
    faces.nth(1).get_by_label("Note").fill("seen")
    best.get_by_role("button", name="Drop").click()
    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Save review.csv").click()
    saved = tmp_path / "review.csv"
    download.value.save_as(saved)
    assert download.value.suggested_filename == "review.csv"
    assert page.text("#review-count") == "3 faces reviewed."
    with saved.open(encoding="utf-8", newline="") as stream:
        lines = {line["sha256"]: line for line in csv.DictReader(stream)}
    assert lines[chosen[1]] == {"sha256": chosen[1], "verdict": "", "label": '\'=hers, "really"', "note": "seen"}
    dropped = best.get_attribute("data-sha256")

    policy = ["--policy", str(clean / "policy.yaml"), "--review", str(saved)]
    assert filter_dataset.run(["--quality", str(scores), "--output", str(tmp_path / "out"), *policy]) == 0
    rows = rows_of(tmp_path / "out")
    rows.index = rows.sha256.map(bytes.hex)
    before = rows_of(clean)
    before.index = before.sha256.map(bytes.hex)
    assert not before.keep[[chosen[0]]].any()
    assert rows.keep[[chosen[0]]].any()
    assert set(rows.reason[[dropped]]) == {"reviewed_drop"}
    assert set(rows.label[[chosen[1]]]) == {'=hers, "really"'}
    others = ~rows.index.isin(lines)
    assert rows.keep[others].tolist() == before.keep[~before.index.isin(lines)].tolist()

    second = tmp_path / "second.html"
    options = ["--quality", str(scores), "--decisions", str(tmp_path / "out"), "--output", str(second)]
    assert report_dataset.run(options) == 0
    page = opened(second)
    page.scroll_through()
    assert page.number("#n-reviewed") == len(rows.reviewed.dropna())
    assert page.text("#review-count") == "3 faces reviewed."
    shown = page.page.locator("#reviewed-faces").text_content()
    assert all(text in shown for text in ("reviewed: keep", "reviewed: drop", "reviewed: label", '=hers, "really"'))
    with page.page.expect_download() as download:
        page.page.get_by_role("button", name="Save review.csv").click()
    download.value.save_as(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == saved.read_bytes()
    assert page.faults == []


# Relative luminance and contrast as WCAG 2 defines them, of every text that is shown.
CONTRAST = """() => {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = (rgb) => 0.2126 * channel(rgb[0]) + 0.7152 * channel(rgb[1]) + 0.0722 * channel(rgb[2]);
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    if (![...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim()) || !node.checkVisibility()) continue;
    if (node.disabled) continue;
    let back = node, colour = [0, 0, 0, 0];
    while (back && colour.length > 3 && colour[3] === 0) {
      colour = parse(getComputedStyle(back).backgroundColor);
      back = back.parentElement;
    }
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(colour)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(node.outerHTML.slice(0, 80));
  }
  return poor;
}"""


@needs_browser
def test_every_text_has_enough_contrast_and_every_control_a_name(report, opened):
    page = opened(report)
    page.scroll_through()
    page.page.locator("#above .face").first.get_by_role("button", name="Drop").click()
    assert page.page.evaluate(CONTRAST) == []
    nameless = """() => [...document.querySelectorAll("button, input, select, img, a")].filter((node) =>
      !(node.textContent.trim() || node.getAttribute("aria-label") || node.alt || (node.labels && node.labels.length)))
      .map((node) => node.outerHTML.slice(0, 80))"""
    assert page.page.evaluate(nameless) == []

"""Read a report as a person does: in a browser, section by section, page by page. Nothing but what is shown is used."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What an item of a gallery shows: of each face the lines under it, and why it stands there.
_ITEMS = """(gallery) => [...gallery.children].filter((node) => node.matches(".item, .face")).map((node) => ({
  why: [...node.children].filter((child) => child.tagName === "P").map((child) => child.textContent).join(" "),
  faces: [...(node.matches(".face") ? [node] : node.querySelectorAll(".face"))].map((face) => ({
    names: [...face.querySelectorAll("figcaption > span > bdi")].map((name) => name.textContent),
    role: (face.querySelector(".role") || {}).textContent || "",
    sentence: (face.querySelector(".why") || {}).textContent || "",
    picture: (face.querySelector("img") || {}).src || "",
  })),
}))"""


@dataclass(frozen=True)
class SeenFace:
    """A face on the page: its key, label, what it is called beside another, why it is poor, its picture."""

    key: str
    label: str
    role: str
    sentence: str
    picture: str


@dataclass(frozen=True)
class SeenItem:
    """One face, or several side by side, with the sentence under them. section: `wrong_label`, `tenth 1`, ..."""

    section: str
    why: str
    faces: tuple[SeenFace, ...]


@contextmanager
def opened(report: Path, chromium: str) -> Iterator[Any]:
    """The report in a page of headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(report.as_uri())
        page.wait_for_function("'ready' in document.documentElement.dataset")
        yield page
        browser.close()


def everything_shown(page: Any) -> list[SeenItem]:
    """Every item of every gallery with a reason or finding, and of the tenths; all their pages."""
    seen: list[SeenItem] = []
    for gallery in page.locator("[data-reason]").all():
        seen += _all_pages(gallery, gallery.get_attribute("data-reason") or "")
    for number, gallery in enumerate(page.locator("#tenth-sheets .gallery").all(), 1):
        seen += _all_pages(gallery, f"tenth {number}")
    return seen


def _all_pages(gallery: Any, section: str) -> Iterator[SeenItem]:
    gallery.scroll_into_view_if_needed()
    gallery.locator("> *").first.wait_for(state="attached")  # a gallery is made when it comes into view
    pages = gallery.locator("xpath=following-sibling::*[1][contains(@class, 'pages')]")
    while True:
        for item in gallery.evaluate(_ITEMS):
            faces = tuple(_face(face) for face in item["faces"])
            yield SeenItem(section, item["why"], faces)
        if not pages.count():
            return
        further = pages.get_by_role("button", name="Next")
        if further.is_disabled():
            return
        further.press("Enter")


def _face(face: dict[str, Any]) -> SeenFace:
    names = face["names"]
    label = names[0] if len(names) > 1 else ""
    return SeenFace(names[-1] if names else "", label, face["role"], face["sentence"], face["picture"])

"""Charts as SVG, drawn by matplotlib when the report is made: the page needs no library and no network for them."""

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiqa_core.extras import install_extra
from fiqa_core.report.counts import Group, Histogram
from fiqa_core.report.settings import ReportError

# Okabe and Ito's colours (2008), which people with any common colour blindness tell apart.
KEPT, DROPPED = "#0072B2", "#D55E00"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B07800", "#2F8FC0")
_STYLES = ("-", "--", "-.")
_BOUNDS = {"random": ("#666666", ":"), "oracle": ("#000000", (0, (1, 1)))}
# Narrow: a phone shows it at about this size, and a wide window enlarges it.
_WIDTH, _HEIGHT = 4.8, 2.9
_MOST_NAME = 24


@dataclass(frozen=True)
class Chart:
    """source: a data URI. text: what it shows, for those who do not see it. width, height: its own size in pixels."""

    source: str
    text: str
    width: int
    height: int


def require_matplotlib() -> None:
    """Raises ReportError if the drawing library is missing."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise ReportError(f"a report's charts need matplotlib: {install_extra('report')}") from error


def histogram_chart(found: Histogram, decided: bool, threshold: float | None) -> Chart:
    """Images by quality, stacked: kept and dropped."""
    with _figure() as (panel, result):
        left, width = found.edges[:-1], np.diff(found.edges)
        panel.bar(left, found.kept, width, align="edge", color=KEPT, label="kept" if decided else "scored")
        if decided:
            panel.bar(
                left, found.dropped, width, found.kept, align="edge", color=DROPPED, label="not kept", hatch="///"
            )
        if threshold is not None:
            panel.axvline(threshold, color="black", linestyle="--", linewidth=1.2, label=f"threshold {threshold:.6g}")
        panel.set_xlabel("quality (higher = more useful)")
        panel.set_ylabel("images")
        panel.yaxis.get_major_locator().set_params(integer=True)
        if decided or threshold is not None:
            panel.legend(frameon=False)
    most = int(np.argmax(found.kept + found.dropped))
    text = (
        f"Histogram of the quality from {found.edges[0]:.4g} to {found.edges[-1]:.4g}; most images lie from "
        f"{found.edges[most]:.4g} to {found.edges[most + 1]:.4g}."
    )
    return result(text)


def group_chart(name: str, groups: Sequence[Group]) -> Chart:
    """Median and the middle 80 % of the quality of each group."""
    with _figure(max(_HEIGHT, 0.6 + 0.2 * len(groups))) as (panel, result):
        places = np.arange(len(groups))[::-1]
        low, median, high = (np.array([getattr(g, n) for g in groups]) for n in ("low", "median", "high"))
        panel.hlines(places, low, high, color=KEPT, linewidth=5, alpha=0.45)
        panel.plot(median, places, "o", color="black", markersize=4)
        panel.set_yticks(places, [_short(group.name) for group in groups])
        for label in panel.get_yticklabels():
            label.set_parse_math(False)
        panel.set_xlabel("quality: median, and from the 10 % to the 90 % quantile")
    return result(f"Quality by {_short(name)}; the table beside it has the numbers.")


def curve_chart(title: str, lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Chart:
    """FNMR over the discarded share, a line for each measure."""
    with _figure() as (panel, result):
        number = 0
        for method, (discard, fnmr) in lines.items():
            if method in _BOUNDS:
                colour, style = _BOUNDS[method]
            else:
                colour, style = _COLOURS[number % len(_COLOURS)], _STYLES[number % len(_STYLES)]
                number += 1
            shown = discard <= 0.95
            panel.plot(100 * discard[shown], fnmr[shown], color=colour, linestyle=style, label=_label(method))
        panel.set_xlabel("discarded [%]")
        panel.set_ylabel("FNMR (lower = better)")
        panel.set_ylim(bottom=0)
        for text in panel.legend(frameon=False).get_texts():
            text.set_parse_math(False)
    return result(f"Error-versus-discard curves of {title}: {', '.join(lines)}.")


@contextmanager
def _figure(height: float = _HEIGHT) -> Iterator[tuple[Any, Callable[[str], Chart]]]:
    """The panel of a figure, and what makes a chart of it once it is drawn."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    drawn: list[bytes] = []

    def result(text: str) -> Chart:
        source = "data:image/svg+xml;base64," + base64.b64encode(drawn[0]).decode()
        return Chart(source, text, round(_WIDTH * 96), round(height * 96))

    # Outlines instead of text: the same in every browser, and no name can be anything but a drawing.
    with matplotlib.rc_context({"svg.hashsalt": "report", "svg.fonttype": "path", "font.size": 9}):
        figure = Figure(figsize=(_WIDTH, height), layout=ConstrainedLayoutEngine())
        panel = figure.subplots()
        panel.grid(alpha=0.3, linewidth=0.5)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        yield panel, result
        stream = io.BytesIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
        drawn.append(stream.getvalue())


def _short(name: str) -> str:
    return name if len(name) <= _MOST_NAME else name[: _MOST_NAME - 1] + "…"


def _label(method: str) -> str:
    """A name for the legend, which leaves out names that begin with an underscore."""
    return "\u200b" * method.startswith("_") + _short(method)

"""Charts as SVG, drawn by matplotlib when the report is made: the page needs no library and no network for them."""

import base64
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiqa_core.extras import install_extra
from fiqa_core.report.counts import Group, Histogram
from fiqa_core.report.evaluation_tables import Comparison
from fiqa_core.report.meaning import Meaning
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


def require_matplotlib(without: str = "") -> None:
    """Raises ReportError if the drawing library is missing; `without`: how to do without it."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise ReportError(f"a report's charts need matplotlib: {install_extra('report')}{without}") from error


def histogram_chart(
    found: Histogram, decided: bool, threshold: float | None, scale: str = "quality", meaning: Meaning | None = None
) -> Chart:
    """Images by quality, stacked: kept and dropped; at the top, what the scores mean."""
    with _figure() as (panel, result):
        left, width = found.edges[:-1], np.diff(found.edges)
        panel.bar(left, found.kept, width, align="edge", color=KEPT, label="kept" if decided else "scored")
        if decided:
            panel.bar(
                left, found.dropped, width, found.kept, align="edge", color=DROPPED, label="not kept", hatch="///"
            )
        if threshold is not None:
            panel.axvline(threshold, color="black", linestyle="--", linewidth=1.2, label=f"threshold {threshold:.6g}")
        panel.set_xlabel(f"{scale} (higher = more useful)")
        panel.set_ylabel("images")
        if meaning is not None:
            _add_meaning(panel, meaning)
        panel.yaxis.get_major_locator().set_params(integer=True)
        if decided or threshold is not None:
            panel.legend(frameon=False)
    most = int(np.argmax(found.kept + found.dropped))
    text = (
        f"Histogram of the {scale} from {found.edges[0]:.4g} to {found.edges[-1]:.4g}; most images lie from "
        f"{found.edges[most]:.4g} to {found.edges[most + 1]:.4g}."
    )
    if meaning is not None:
        ends = meaning.at(np.array([found.edges[0], found.edges[-1]]))
        text += (
            f" The axis at the top has percentile and predicted FNMR: {ends['percentile'][0]:.3g} and "
            f"{ends['fnmr'][0]:.3g} at the left, {ends['percentile'][1]:.3g} and {ends['fnmr'][1]:.3g} at the right."
        )
    return result(text)


def _add_meaning(panel: Any, meaning: Meaning) -> None:
    """A second axis at the top: percentile and predicted FNMR of the scores below."""
    low, high = panel.get_xlim()
    places = np.linspace(low, high, 7)[1:-1]
    found = meaning.at(places)
    top = panel.secondary_xaxis("top")
    texts = [f"{p:.3g}\n{100 * f:.3g} %" for p, f in zip(found["percentile"], found["fnmr"], strict=True)]
    top.set_xticks(places, texts)
    top.set_xlabel("percentile, predicted FNMR")


def loss_chart(name: str, groups: Sequence[Group]) -> Chart:
    """What each group loses, with its 95 % band."""
    with _figure(max(_HEIGHT, 0.6 + 0.2 * len(groups))) as (panel, result):
        places = np.arange(len(groups))[::-1]
        low, share, high = (
            np.array([100 * getattr(group.loss, end) for group in groups]) for end in ("low", "share", "high")
        )
        panel.hlines(places, low, high, color=DROPPED, linewidth=3, alpha=0.55)
        panel.plot(share, places, "o", color="black", markersize=4)
        panel.set_xlim(left=0)
        _name_rows(panel, places, [group.name for group in groups])
        panel.set_xlabel("lost [% of its scored images], with the 95 % band")
    return result(f"What each group of {_short(name)} loses; the table below has the numbers.")


def difference_chart(comparison: Comparison) -> Chart:
    """Paired differences of measures with their bands; left of 0 = better."""
    rows = [each for each in comparison.differences if not math.isnan(each.value)]
    with _figure(max(1.6, 0.9 + 0.25 * len(rows))) as (panel, result):
        panel.axvline(0, color="black", linewidth=0.8)
        places = np.arange(len(rows))[::-1]
        for place, each in zip(places, rows, strict=True):
            colour = {"better": KEPT, "worse": DROPPED}.get(each.verdict, "#666666")
            if not math.isnan(each.low):
                panel.hlines(place, 1000 * each.low, 1000 * each.high, color=colour, linewidth=2.5)
            panel.plot(1000 * each.value, place, "o", color=colour, markersize=5)
        _name_rows(panel, places, [each.method for each in rows])
        panel.set_ylim(-0.6, len(rows) - 0.4)
        panel.set_xlabel("difference of the area to 30 % discard, x 1000 (left of 0 = better)")
    return result(f"Paired differences of {comparison.title}; the table below has the numbers.")


def _name_rows(panel: Any, places: np.ndarray, names: Sequence[str]) -> None:
    panel.set_yticks(places, [_short(name) for name in names])
    for label in panel.get_yticklabels():
        label.set_parse_math(False)


def group_chart(name: str, groups: Sequence[Group]) -> Chart:
    """Median and the middle 80 % of the quality of each group."""
    with _figure(max(_HEIGHT, 0.6 + 0.2 * len(groups))) as (panel, result):
        places = np.arange(len(groups))[::-1]
        low, median, high = (np.array([getattr(g, n) for g in groups]) for n in ("low", "median", "high"))
        panel.hlines(places, low, high, color=KEPT, linewidth=5, alpha=0.45)
        panel.plot(median, places, "o", color="black", markersize=4)
        _name_rows(panel, places, [group.name for group in groups])
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

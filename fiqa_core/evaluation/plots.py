"""EDC plots: one picture a dataset, face recognition model and protocol; a panel for each target FMR."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fiqa_core.evaluation.edc import Curve
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.study import ORACLE, RANDOM, Result
from fiqa_core.extras import install_extra

# Okabe and Ito's colours (2008), which people with any common colour blindness tell apart; yellow is too pale for a
# line. Line styles and markers repeat the distinction for print.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLES = ("-", "--", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
_BOUNDS: dict[str, dict[str, Any]] = {
    RANDOM: {"color": "#777777", "linestyle": ":", "linewidth": 2.0},
    ORACLE: {"color": "#000000", "linestyle": (0, (1, 1)), "linewidth": 1.2},
}
_PANEL_WIDTH, _PANEL_HEIGHT = 4.6, 3.6
_DISCARDED = {"crfiqa": "discarded share of all pairs [%]", "fixed": "discarded share of the mated pairs [%]"}
_MARKS = 8
_SETTLED = 0.901
# The whiskers of all measures are drawn side by side, beginning at each of these positions.
_WHISKERS, _WHISKER_ROOM, _WHISKER_STEP = np.array([0.1, 0.3, 0.5, 0.7]), 0.18, 0.02


def require_matplotlib() -> Any:
    """The plotting library.

    Raises:
        EvaluationError: it is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise EvaluationError(
            f"plots need matplotlib: {install_extra('plots')}, or leave them out with --no-plots"
        ) from error
    return matplotlib


def plot(results: Sequence[Result], title: str, paths: Sequence[Path]) -> None:
    """Draw curves of one dataset, model and protocol, and save them (the format is the path's suffix).

    The same results give the same file: no dates, no random ids.
    """
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    fmrs = list(dict.fromkeys(result.curve.fmr for result in results))
    methods = list(dict.fromkeys(result.method for result in results))
    columns = min(3, len(fmrs))
    rows = -(-len(fmrs) // columns)
    legend_columns = min(len(methods), max(2, columns * 2))
    legend_height = 0.26 * -(-len(methods) // legend_columns) + 0.15
    height = _PANEL_HEIGHT * rows + legend_height + 0.4
    with matplotlib.rc_context({"svg.hashsalt": "edc", "svg.fonttype": "path", "font.size": 10}):
        figure = Figure(figsize=(_PANEL_WIDTH * columns, height), layout=ConstrainedLayoutEngine(w_pad=0.12))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels[::columns]:
            panel.set_ylabel("FNMR")
        for panel, fmr in zip(panels, fmrs, strict=False):
            _draw(panel, [result for result in results if result.curve.fmr == fmr], methods, fmr)
        for panel in panels[len(fmrs) :]:
            panel.set_visible(False)
        figure.suptitle(title)
        handles = {line.get_label(): line for line in panels[0].get_lines()}
        figure.legend(
            [handles[method] for method in methods],
            methods,
            loc="outside lower center",
            ncols=legend_columns,
            frameon=False,
        )
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
            figure.savefig(path, dpi=150, metadata=metadata)


def _draw(panel: Any, results: Sequence[Result], methods: Sequence[str], fmr: float) -> None:
    protocol = results[0].curve.protocol
    measures = [method for method in methods if method not in _BOUNDS]
    top = 0.0
    for result in results:
        curve = result.curve
        shown = curve.discard <= 0.951
        x, y = 100 * curve.discard[shown], curve.fnmr[shown]
        look = _BOUNDS.get(result.method) or _line_style(measures.index(result.method), len(x))
        step = {} if protocol == "crfiqa" else {"drawstyle": "steps-post"}
        if step:  # the last step lasts to the end
            x, y = np.append(x, 95), np.append(y, y[-1])
        panel.plot(x, y, label=result.method, **look, **step)
        if result.bands is not None and result.method not in _BOUNDS:
            whiskers = _whiskers(panel, result, measures.index(result.method), len(measures), look["color"])
            top = max(top, whiskers)
        settled = curve.fnmr[curve.discard <= _SETTLED]  # beyond it only a few pairs are left
        if np.isfinite(settled).any():
            top = max(top, float(np.nanmax(settled)))
    panel.set_title(f"FMR {fmr:g}", fontsize=10)
    panel.set_xlabel(_DISCARDED[protocol])
    panel.set_xlim(0, 95)
    panel.set_ylim(0, 1.08 * top if top > 0 else 1)
    panel.grid(alpha=0.3, linewidth=0.5)
    panel.spines[["top", "right"]].set_visible(False)


def _whiskers(panel: Any, result: Result, number: int, measures: int, colour: str) -> float:
    """Draw the band at a few positions, different ones for each measure: filled bands of many measures would overlap.

    Between two points a band is interpolated as its curve is: as a step (`fixed`), or linearly.

    Returns:
        The largest upper end.
    """
    curve, bands = result.curve, result.bands
    if bands is None:
        return 0.0
    x = _WHISKERS + number * min(_WHISKER_STEP, _WHISKER_ROOM / measures)
    y, low, high = (_interpolated(curve, column, x) for column in (curve.fnmr, bands.fnmr_low, bands.fnmr_high))
    reach = np.maximum(np.stack([y - low, high - y]), 0)  # a percentile interval may not contain its estimate
    panel.errorbar(100 * x, y, reach, fmt="none", ecolor=colour, elinewidth=1, capsize=2, alpha=0.8)
    ends = (y + reach[1])[np.isfinite(y + reach[1])]
    return float(ends.max()) if len(ends) else 0.0


def _interpolated(curve: Curve, column: np.ndarray, x: np.ndarray) -> np.ndarray:
    if curve.protocol == "fixed":
        return np.asarray(column[np.searchsorted(curve.discard, x + 1e-12, "right") - 1])
    return np.asarray(np.interp(x, curve.discard, column))


def _line_style(number: int, points: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "linestyle": _STYLES[(number + number // len(_COLOURS)) % len(_STYLES)],  # changes when colours repeat
        "marker": _MARKERS[number % len(_MARKERS)],
        "markersize": 4,
        "markevery": (number * max(1, points // 40) % max(1, points), max(1, points // _MARKS)),
        "linewidth": 1.5,
    }

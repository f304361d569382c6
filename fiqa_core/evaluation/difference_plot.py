"""Plots of paired differences: a panel for each target FMR, a line with its band for each measure."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fiqa_core.evaluation.plots import require_matplotlib

_PANEL_WIDTH, _ROW_HEIGHT = 4.2, 0.34
_COLOURS = {"better": "#0072B2", "worse": "#D55E00"}
_UNDECIDED = "#777777"


def plot_differences(rows: Sequence[Mapping[str, Any]], title: str, paths: Sequence[Path]) -> None:
    """Draw the differences of one dataset, model and protocol (rows of differences.csv), and save them.

    Left of the line at 0 a measure is better than the one that it is compared with. The same rows give the same file.
    """
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    fmrs = list(dict.fromkeys(row["fmr"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    size = (_PANEL_WIDTH * len(fmrs), _ROW_HEIGHT * len(methods) + 1.6)
    with matplotlib.rc_context({"svg.hashsalt": "differences", "svg.fonttype": "path", "font.size": 10}):
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.12))
        panels = figure.subplots(1, len(fmrs), squeeze=False, sharey=True).ravel()
        for panel, fmr in zip(panels, fmrs, strict=True):
            _draw(panel, {row["method"]: row for row in rows if row["fmr"] == fmr}, methods)
            panel.set_title(f"FMR {fmr:g}", fontsize=10)
        panels[0].set_yticks(range(len(methods)), methods)
        figure.suptitle(f"{title}: against {rows[0]['against']}")
        figure.supxlabel("difference of the area to 30 % discard, x 1000 (left of 0 = better)", fontsize=10)
        for path in paths:
            metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
            figure.savefig(path, dpi=150, metadata=metadata)


def _draw(panel: Any, by_method: Mapping[str, Mapping[str, Any]], methods: Sequence[str]) -> None:
    panel.axvline(0, color="#000000", linewidth=0.8)
    for place, method in enumerate(methods):
        row = by_method.get(method)
        if row is None or math.isnan(row["auc_30"]):
            continue
        colour = _COLOURS.get(row["verdict"], _UNDECIDED)
        if row["verdict"]:
            panel.hlines(place, 1000 * row["auc_30_low"], 1000 * row["auc_30_high"], color=colour, linewidth=1.8)
        panel.plot(1000 * row["auc_30"], place, marker="o", markersize=5, color=colour)
    panel.set_ylim(len(methods) - 0.4, -0.6)
    panel.grid(axis="x", alpha=0.3, linewidth=0.5)
    panel.spines[["top", "right"]].set_visible(False)

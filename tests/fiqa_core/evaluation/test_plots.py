"""What a panel of a plot shows: read from matplotlib's own objects."""

import numpy as np
import pytest

from fiqa_core.evaluation import plots
from fiqa_core.evaluation.bootstrap import Bands
from fiqa_core.evaluation.edc import GRID, Curve
from fiqa_core.evaluation.study import Result

pytest.importorskip("matplotlib", reason="extra [plots] is not installed")
MEASURES = [f"measure-{number}" for number in range(9)]


@pytest.fixture(scope="module", params=["crfiqa", "fixed"])
def panel(request):
    """Nine measures whose curves fall from 0.2 and whose bands reach up to 0.5."""
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    fnmr, nothing = 0.2 - 0.1 * GRID, np.zeros(len(GRID))
    curve = Curve(request.param, 1.5e-3, GRID, nothing, nothing, nothing, nothing, fnmr, nothing)
    band = Bands(fnmr - 0.05, np.full(len(GRID), 0.5), np.zeros(4), np.zeros(4))
    plots._draw(axes, [Result(name, curve, np.zeros(4), band) for name in MEASURES], MEASURES, 1.5e-3)
    return axes


def test_the_title_has_the_fmr_as_it_was_asked_for(panel):
    assert panel.get_title() == "FMR 0.0015"


def test_no_whisker_is_cut_off_and_no_two_stand_in_one_place(panel):
    whiskers = [segment for lines in panel.collections for segment in lines.get_segments()]
    assert len(whiskers) == 4 * len(MEASURES)
    assert max(segment[:, 1].max() for segment in whiskers) < panel.get_ylim()[1]
    places = np.sort([segment[0, 0] for segment in whiskers])
    assert np.diff(places).min() >= 1.9  # percent of discarded pairs


def test_no_two_measures_look_the_same(panel):
    lines = [line for line in panel.get_lines() if line.get_label() in MEASURES]
    for looks in (
        {(line.get_color(), line.get_linestyle()) for line in lines},
        {(line.get_color(), line.get_marker()) for line in lines},
    ):
        assert len(looks) == len(MEASURES)

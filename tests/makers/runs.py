"""Outputs of scoring runs without a runner: real shards, real tables, and the account at the end."""

from collections.abc import Sequence
from pathlib import Path

from fiqa_core.runs.plan import Plan, plan_dataset
from fiqa_core.scoring.run import begin, close_account, prepare_output, write_summary
from fiqa_core.scoring.score_unit import score_unit
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.summary import Summary, merge
from tests.fakes import MeanScorer
from tests.makers.containers import write_tar
from tests.makers.images import png_bytes

SETTINGS = ScoreSettings("none", "none", "0" * 64)
OTHER_NETWORK = ScoreSettings("none", "none", "1" * 64)


def write_shards(folder: Path, names: Sequence[str], images: int = 4) -> list[Path]:
    """Tars of small faces, all images different."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in names:
        seed = sum(name.encode()) * 100
        members = [(f"{name}{number}.png", png_bytes(seed + number, 20)) for number in range(images)]
        paths.append(write_tar(folder / f"{name}.tar", members))
    return paths


def score_shards(
    output: Path | str,
    inputs: Sequence[Path],
    settings: ScoreSettings = SETTINGS,
    units: int | None = None,
    finish: bool = True,
    resume: bool = False,
) -> Plan:
    """Score inputs into an output; `units`: so many of them only. `finish`: write `summary.json`."""
    place = str(output)
    size = prepare_output(place, resume, False) or 4
    plan = plan_dataset([str(path) for path in inputs], "auto", size, f"{place}/plan")
    begin(place, [str(path) for path in inputs], size, settings, plan)
    total = Summary()
    for unit in plan.units[:units]:
        total = merge(total, score_unit(unit, MeanScorer(), settings, place))
    if finish:
        write_summary(place, len(plan.units), 1.0, settings.to_dict(), total)
        close_account(place, plan.units, settings)
    return plan

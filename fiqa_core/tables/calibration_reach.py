"""How the scores of tables lie in the set that they are calibrated on: what lies beyond it, and how alike they are."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fiqa_core.storage import open_read
from fiqa_core.tables.footers import Footer
from fiqa_core.tables.row_batches import checked, damage_named
from schemas.reasons import Status

# More than this share beyond the set, or a larger distance than this, is worth a warning.
MOST_BEYOND, MOST_DISTANCE = 0.05, 0.2
_CHANCE = 1.36  # / sqrt(n): what a sample of n scores of the set itself exceeds once in twenty (Kolmogorov-Smirnov)
_BINS = 10_000
_ROWS_AT_ONCE = 65_536
_NETWORK = ("arch", "mode", "checkpoint_sha256", "exit", "fuse")


@dataclass(frozen=True)
class Reach:
    """The scores of one network, in the set of its calibration.

    Attributes:
        network: mode and the checkpoint's sha256 (its beginning). set, judge, fmr: of the calibration.
        scored: number of scores. below, above: shares of them that are lower (higher) than every score of the set.
        distance: Kolmogorov-Smirnov distance of the two distributions, 0 (the same) to 1.
    """

    network: str
    set: str
    judge: str
    fmr: float
    scored: int
    below: float
    above: float
    distance: float

    @property
    def warning(self) -> str | None:
        """What is wrong with using percentile and predicted FNMR here; None where nothing is."""
        said = []
        if max(self.below, self.above) > MOST_BEYOND:
            said.append(
                f"{100 * self.below:.1f} % of the scores are lower than its lowest and {100 * self.above:.1f} % higher "
                "than its highest, where nothing was measured"
            )
        if self.distance > MOST_DISTANCE + _CHANCE / max(1, self.scored) ** 0.5:
            said.append(f"the scores are distributed otherwise (Kolmogorov-Smirnov distance {self.distance:.2f})")
        if not said:
            return None
        return (
            f"network {self.network}: percentile and predicted FNMR are of the set {self.set} (judge {self.judge}, FMR "
            f"{self.fmr:g}); {'; '.join(said)}. Calibrate on a set that is like these images."
        )

    def to_dict(self) -> dict[str, Any]:
        """For `summary.json`."""
        return asdict(self)


def reaches(files: Sequence[Footer]) -> tuple[Reach, ...]:
    """One for each network and calibration in the files; none for tables without a calibration.

    Raises:
        TableError: a damaged file.
    """
    groups: dict[tuple[str, ...], list[Footer]] = {}
    for file in files:
        calibration = (file.settings or {}).get("calibration")
        if isinstance(calibration, dict):
            network = tuple(str((file.settings or {}).get(name)) for name in _NETWORK)
            groups.setdefault((*network, str(calibration.get("digest"))), []).append(file)
    return tuple(found for group in groups.values() if (found := _reach(group)) is not None)


def _reach(files: Sequence[Footer]) -> Reach | None:
    counts, below, above = np.zeros(_BINS, np.int64), 0, 0
    for values in _percentiles(files):
        below += int((values <= 0).sum())
        above += int((values >= 100).sum())
        within = values[(values > 0) & (values < 100)]
        counts += np.bincount((within * (_BINS / 100)).astype(np.int64), minlength=_BINS)[:_BINS]
    scored = below + above + int(counts.sum())
    if not scored:
        return None
    reached = (below + np.append(0, np.cumsum(counts))) / scored
    distance = float(np.abs(reached - np.linspace(0, 1, _BINS + 1)).max())
    settings = files[0].settings or {}
    calibration = settings["calibration"]
    return Reach(
        f"{settings.get('mode')} {str(settings.get('checkpoint_sha256'))[:16]}",
        str(calibration.get("set")),
        str(calibration.get("judge")),
        float(calibration.get("fmr") or 0),
        scored,
        below / scored,
        above / scored,
        round(distance, 4),
    )


def _percentiles(files: Sequence[Footer]) -> Iterator[np.ndarray]:
    """Percentiles of the scored rows, float64, some at a time."""
    for file in files:
        with damage_named(file.url), open_read(file.url) as stream:
            table = checked(stream)
            if not {"percentile", "status"} <= set(table.schema_arrow.names):
                continue
            for batch in table.iter_batches(_ROWS_AT_ONCE, columns=["percentile", "status"]):
                scored = pc.equal(batch.column("status").cast(pa.string()), Status.SCORED.value)
                values = batch.column("percentile").to_numpy(zero_copy_only=False).astype(np.float64)
                yield values[pc.fill_null(scored, False).to_numpy(zero_copy_only=False) & ~np.isnan(values)]

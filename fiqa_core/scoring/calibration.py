"""A calibration: what a score means on a named set, judged by a named recogniser. Read from a small JSON file.

Two meanings of a score: its percentile in the set, and the share of mated pairs with such an image that the recogniser
refuses at a fixed false match rate (predicted FNMR). `fiqa calibrate` makes the file
(`fiqa_core.evaluation.calibrate`).
"""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fiqa_core.errors import FiqaError
from fiqa_core.models import EMBEDDED_CALIBRATIONS, read_embedded_calibration
from fiqa_core.storage import open_read

FORMAT, VERSION = "fiqa.calibration", 1
_NETWORK = ("arch", "mode", "checkpoint_sha256")
_TEXTS = ("set", "set_digest", "judge")
_APART = 0.2  # a larger distance of two distributions is worth a warning (tables/calibration_reach.py)
_MOST_BYTES = 4 << 20


class CalibrationError(FiqaError, ValueError):
    """A calibration cannot be used, or cannot be made as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Calibration:
    """What scores of one network mean on one set.

    Attributes:
        network: `arch`, `mode` and `checkpoint_sha256` of the network whose scores these are.
        set, set_digest: name of the reference set; digest of the names of its images.
        judge: name of the recogniser. fmr: its false match rate at the threshold.
        quality, percentile: the share of the set's images with a lower score, 0..100, at scores in ascending order.
        knots, fnmr, low, high: predicted FNMR at scores in ascending order, never rising, and its 95 % band.
        digest: of the file.
    """

    network: Mapping[str, str] = field(hash=False)
    set: str
    set_digest: str
    judge: str
    fmr: float
    quality: tuple[float, ...]
    percentile: tuple[float, ...]
    knots: tuple[float, ...]
    fnmr: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    digest: str = ""

    def described(self) -> dict[str, Any]:
        """What a table's settings say of it. Tables whose `set_digest`, `judge` and `fmr` are equal are comparable."""
        return {
            "set": self.set,
            "set_digest": self.set_digest,
            "judge": self.judge,
            "fmr": self.fmr,
            "digest": self.digest,
        }

    def percentiles(self, scores: np.ndarray) -> np.ndarray:
        """Percentile of each score in the set, float32 (N,), 0..100; 0 and 100 beyond its lowest and highest score."""
        found = np.interp(scores, self.quality, self.percentile, left=0.0, right=100.0)
        return np.where(np.isnan(scores), np.nan, found).astype(np.float32)

    def predicted_fnmr(self, scores: np.ndarray) -> np.ndarray:
        """FNMR of mated pairs with an image of each score, float32 (N,), lower = better; constant beyond the set."""
        return np.where(np.isnan(scores), np.nan, np.interp(scores, self.knots, self.fnmr)).astype(np.float32)

    def check_network(self, arch: str, mode: str, checkpoint_sha256: str, where: str) -> None:
        """Refuse a calibration of another network's scores.

        Raises:
            CalibrationError: it names both.
        """
        now = dict(zip(_NETWORK, (arch, mode, checkpoint_sha256), strict=True))
        different = [name for name in _NETWORK if self.network[name] != now[name]]
        if different:
            name = different[-1]
            raise CalibrationError(
                f"--calibration {where}: was made for another network ({name} {self.network[name][:16]}, here "
                f"{now[name][:16]}); its numbers do not hold for these scores. Make one with `fiqa calibrate`."
            )


def read_calibration(place: str) -> Calibration:
    """The calibration in a file, or (`embedded`, `embedded-mixed`) one of the network that comes with this package.

    Raises:
        CalibrationError: not a calibration, or a damaged one; the message names the key.
    """
    if place in EMBEDDED_CALIBRATIONS:
        return parse_calibration(read_embedded_calibration(place), place)
    with open_read(place) as stream:
        data = stream.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise CalibrationError(f"{place}: larger than {_MOST_BYTES >> 20} MiB, so it is not a calibration")
    return parse_calibration(data, place)


def parse_calibration(data: bytes, where: str) -> Calibration:
    """The calibration in the bytes of a file. Raises as `read_calibration`."""
    try:
        content = json.loads(data)
    except ValueError:
        content = None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CalibrationError(f"{where}: not a calibration. Expected a JSON file that `fiqa calibrate` wrote.")
    if content.get("version") != VERSION:
        raise CalibrationError(f"{where}: its version is not {VERSION}; make it again with this version's calibrate")
    texts = {name: content.get(name) for name in _TEXTS}
    network = content.get("network")
    if not isinstance(network, dict) or not all(isinstance(network.get(name), str) for name in _NETWORK):
        raise _damaged(where, "network")
    for name, text in texts.items():
        if not isinstance(text, str):
            raise _damaged(where, name)
    fmr = content.get("fmr")
    if isinstance(fmr, bool) or not isinstance(fmr, int | float) or not 0 < fmr < 1:
        raise _damaged(where, "fmr")
    quality, percentile = _curves(content, "percentile", ("quality", "percentile"), 100.0, where)
    knots, fnmr, low, high = _curves(content, "predicted_fnmr", ("quality", "fnmr", "low", "high"), 1.0, where)
    if any(later < earlier for earlier, later in itertools.pairwise(percentile)):
        raise _damaged(where, "percentile.percentile")
    if any(later > earlier for earlier, later in itertools.pairwise(fnmr)):
        raise _damaged(where, "predicted_fnmr.fnmr")
    return Calibration(
        {name: network[name] for name in _NETWORK},
        str(texts["set"]),
        str(texts["set_digest"]),
        str(texts["judge"]),
        float(fmr),
        quality,
        percentile,
        knots,
        fnmr,
        low,
        high,
        hashlib.sha256(data).hexdigest()[:16],
    )


def outside_lines(calibration: Calibration, quality: Mapping[str, Any]) -> list[str]:
    """How scores lie in the set of a calibration; a warning where more than 5 % lie beyond it at either end, or where
    they are distributed otherwise than the set's (Kolmogorov-Smirnov distance, seen at the quantiles of a summary).

    Args:
        quality: `quality` of a summary: `min`, `max`, and `quantiles` by share as text.
    """
    if "quantiles" not in quality:
        return []
    at = {float(share): float(value) for share, value in quality["quantiles"].items()}
    shown = ", ".join(
        f"{int(share * 100)} %: {calibration.percentiles(np.array([at[share]]))[0]:.3g}" for share in (0.05, 0.5, 0.95)
    )
    name = f"{calibration.set} (judge {calibration.judge}, FMR {calibration.fmr:g})"
    lines = [f"percentile in {name}: {shown}"]
    least, most = calibration.quality[0], calibration.quality[-1]
    for beyond, end in ((at[0.05] < least, f"below {least:.4g}"), (at[0.95] > most, f"above {most:.4g}")):
        if beyond:
            lines.append(
                f"WARNING: more than 5 % of the scores lie {end}, where {name} has none: their percentile and "
                "predicted FNMR are not measured. Calibrate on a set that is like these images."
            )
    apart = max(abs(share - float(calibration.percentiles(np.array([value]))[0]) / 100) for share, value in at.items())
    if apart > _APART:
        lines.append(
            f"WARNING: the scores are distributed otherwise than those of {name} (Kolmogorov-Smirnov distance at least "
            f"{apart:.2f}): predicted FNMR is of pairs within that set. Calibrate on a set that is like these images."
        )
    return lines


def _curves(
    content: Mapping[str, Any], section: str, names: tuple[str, ...], most: float, where: str
) -> list[tuple[float, ...]]:
    """Columns of equal length; the first ascending, the others from 0 to `most`."""
    found = content.get(section)
    if not isinstance(found, dict):
        raise _damaged(where, section)
    columns: list[tuple[float, ...]] = []
    for name in names:
        values = found.get(name)
        if not isinstance(values, list) or not values or len(values) != len(found[names[0]]):
            raise _damaged(where, f"{section}.{name}")
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
            raise _damaged(where, f"{section}.{name}")
        if name != names[0] and not all(0 <= value <= most for value in values):
            raise _damaged(where, f"{section}.{name}")
        columns.append(tuple(float(value) for value in values))
    if any(later < earlier for earlier, later in itertools.pairwise(columns[0])):
        raise _damaged(where, f"{section}.{names[0]}")
    return columns


def _damaged(where: str, key: str) -> CalibrationError:
    return CalibrationError(
        f"{where}: damaged calibration: {key!r} is missing or not as `fiqa calibrate` writes it. Make it again."
    )

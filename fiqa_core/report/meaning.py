"""What the scores of a report mean: percentile and predicted FNMR, by the table's own columns or by a calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiqa_core.curation.decisions.database import row, scalar
from fiqa_core.networks.exits import mode_read_at
from fiqa_core.report.settings import ReportError
from fiqa_core.scoring.calibration import read_calibration
from fiqa_core.tables.calibration_reach import MOST_BEYOND
from fiqa_core.tables.footers import Footer
from fiqa_core.wording import visible

_MOST_TEXT = 200


@dataclass(frozen=True)
class Meaning:
    """What scores mean on a named set, judged by a named recogniser.

    Attributes:
        set, judge, fmr: of the calibration. source: where it comes from, in words.
        quality: scores, float64 (n,), ascending; percentile, fnmr: there, float64 (n,). low, high: the 95 % band of the
            predicted FNMR, None where the source has none.
        warnings: where scores lie outside the set, in words.
    """

    set: str
    judge: str
    fmr: float
    source: str
    quality: np.ndarray
    percentile: np.ndarray
    fnmr: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    warnings: tuple[str, ...] = ()

    def at(self, scores: np.ndarray) -> dict[str, list[float]]:
        """Percentile and predicted FNMR (with its band, where there is one) of scores, rounded for people."""
        columns = {"percentile": self.percentile, "fnmr": self.fnmr, "low": self.low, "high": self.high}
        return {
            name: np.interp(scores.astype(np.float64), self.quality, values).round(5).tolist()
            for name, values in columns.items()
            if values is not None
        }


def meaning_of(db: Any, place: str, footers: Sequence[Footer], columns: bool, scores: np.ndarray) -> Meaning | None:
    """The meaning of the scores in `rows`; None where nothing says it.

    Args:
        place: file or name of a calibration, "" for the tables' own columns. footers: of the tables. columns: whether
            all of them have `percentile` and `predicted_fnmr`. scores: at which the tables' own columns are read off.

    Raises:
        CalibrationError: not a calibration, or one of another network. ReportError: tables of several networks.
    """
    if place:
        return _by_file(db, place, footers)
    said = _said(footers)
    if not columns or said is None:
        return None
    listed = ", ".join(f"{float(score)!r}::FLOAT" for score in scores)
    found = db.execute(
        "SELECT quality, any_value(percentile), any_value(predicted_fnmr) FROM rows "
        f"WHERE quality IN ({listed}) AND percentile IS NOT NULL AND predicted_fnmr IS NOT NULL "
        "GROUP BY quality ORDER BY quality"
    ).fetchall()
    if not found:
        return None
    quality, percentile, fnmr = (np.array(column, np.float64) for column in zip(*found, strict=True))
    total = scalar(db, "SELECT count(percentile) FROM rows WHERE quality IS NOT NULL")
    below, above = row(db, "SELECT count(*) FILTER (percentile <= 0), count(*) FILTER (percentile >= 100) FROM rows")
    return Meaning(
        _text(said.get("set")),
        _text(said.get("judge")),
        float(said.get("fmr") or 0),
        "columns percentile and predicted_fnmr of the table",
        quality,
        percentile,
        fnmr,
        warnings=_warnings(_text(said.get("set")), {"below": below / total, "above": above / total}),
    )


def _by_file(db: Any, place: str, footers: Sequence[Footer]) -> Meaning:
    calibration = read_calibration(place)
    networks = {_network(footer.settings) for footer in footers if footer.settings is not None}
    if len(networks) > 1:
        raise ReportError(
            f"--calibration {place}: the tables are of {len(networks)} networks, and a calibration is of one. Leave it "
            "out: the tables say themselves what their scores mean."
        )
    for arch, mode, checkpoint in networks:
        calibration.check_network(arch, mode, checkpoint, place)
    known = "" if networks else "; the tables do not say which network made their scores"
    least, most = calibration.quality[0], calibration.quality[-1]
    total, below, above = row(
        db,
        f"SELECT count(quality), count(*) FILTER (quality < {least!r}::DOUBLE), "
        f"count(*) FILTER (quality > {most!r}::DOUBLE) FROM rows",
    )
    name = _text(calibration.set)
    shares = {"below": below / max(total, 1), "above": above / max(total, 1)}
    scores = np.union1d(calibration.quality, calibration.knots)  # both curves on the scores of both
    fnmr, low, high = (
        np.interp(scores, calibration.knots, values) for values in (calibration.fnmr, calibration.low, calibration.high)
    )
    return Meaning(
        name,
        _text(calibration.judge),
        calibration.fmr,
        f"--calibration {visible(place)}{known}",
        scores,
        np.interp(scores, calibration.quality, calibration.percentile),
        fnmr,
        low,
        high,
        _warnings(name, shares),
    )


def _network(settings: Mapping[str, Any]) -> tuple[str, str, str]:
    mode = mode_read_at(
        str(settings.get("mode", "")), int(settings.get("exit") or 0), str(settings.get("fuse") or "none")
    )
    return str(settings.get("arch", "")), mode, str(settings.get("checkpoint_sha256", ""))


def _said(footers: Sequence[Footer]) -> Mapping[str, Any] | None:
    """What the tables' settings say of their calibration; None unless all say so."""
    found = [(footer.settings or {}).get("calibration") for footer in footers]
    return found[0] if found and all(isinstance(each, Mapping) for each in found) else None


def _warnings(name: str, shares: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(
        f"{share:.1%} of the scores lie at or {side} the {end} score of {name}: their percentile and predicted FNMR "
        "are not measured. Calibrate on a set that is like these images."
        for (side, share), end in zip(shares.items(), ("lowest", "highest"), strict=True)
        if share > MOST_BEYOND
    )


def _text(value: Any) -> str:
    return visible(str(value)[:_MOST_TEXT])

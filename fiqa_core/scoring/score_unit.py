"""Score one unit and publish its file: whole, under its final name, or not at all."""

import errno
import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from fiqa_core.alignment.aligner import Aligner
from fiqa_core.scoring.batch_scorer import BatchScorer
from fiqa_core.scoring.crop_shard import crop_shard, has_its_crops
from fiqa_core.scoring.losses import described, in_words, measured
from fiqa_core.scoring.progress import Heartbeat
from fiqa_core.scoring.service.errors import ScoringProcessLostError
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.stream import score_records
from fiqa_core.scoring.summary import Summary, failed_unit, of_unit
from fiqa_core.scoring.table import QualityWriter, read_summary
from fiqa_core.shards.sample import records_of
from fiqa_core.shards.unit import Unit
from fiqa_core.storage import (
    StorageError,
    absolute,
    is_local,
    join,
    look_into,
    open_read,
    publish,
    remove,
    stat,
    temporary_for,
)
from fiqa_core.storage.attempts import with_attempts
from fiqa_core.wording import counted, first_line
from schemas.reasons import DONE, SHARD_LEVEL

_log = logging.getLogger(__name__)
_LOST_SCORING_PROCESSES = 10  # in one unit; after each loss the process and the unit are started again


def _is_gone(error: OSError, unit: Unit) -> bool:
    """Whether the shard itself is missing (not a temporary of ours, which another command may have swept away)."""
    place = look_into(unit.url)[1]
    return error.errno == errno.ENOENT and is_local(place) and not Path(absolute(place)).exists()


def unit_file(output: str, unit: Unit, settings: ScoreSettings) -> str:
    """URL of a unit's quality file: the same for the same unit and settings, wherever it is scored."""
    identity = json.dumps([unit.identity(), settings.digest()], sort_keys=True)
    return join(
        output,
        "quality",
        f"part-{unit.number:06d}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.parquet",
    )


def score_unit(
    unit: Unit,
    scorer: BatchScorer,
    settings: ScoreSettings,
    output: str,
    threads: int = 1,
    heartbeat: Heartbeat | None = None,
    sleep: Callable[[float], None] = time.sleep,
    aligner: Aligner | None = None,
) -> Summary:
    """Score a unit, unless its file is there already.

    A disk that fails is tried again (`fiqa_core.storage.attempts`). A unit that fails for good is returned as a failure
    with its reason (so that the other units finish), and leaves no file.
    """
    started = time.monotonic()
    heartbeat = heartbeat or Heartbeat()

    def attempt() -> Summary:
        return _keep_or_score(unit, scorer, settings, output, threads, heartbeat, started, aligner)

    lost = 0
    while True:
        try:
            return with_attempts(
                attempt, f"unit {unit.number} ({unit.shard})", lambda error: _is_gone(error, unit), sleep
            )
        except ScoringProcessLostError as error:
            reason = str(error)
            lost += 1
            if lost == _LOST_SCORING_PROCESSES:
                _log.error("unit %d (%s) failed: %s, %d times", unit.number, unit.shard, reason, lost)
                break
            _log.warning("unit %d (%s): %s; scoring it again", unit.number, unit.shard, reason)
        except OSError as error:
            # A store's message is complete by itself.
            reason = str(error) if isinstance(error, StorageError) else f"{type(error).__name__}: {error}"
            _log.error("unit %d (%s) failed: %s", unit.number, unit.shard, reason)
            break
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            _log.exception("unit %d (%s) failed", unit.number, unit.shard)
            break
    return failed_unit(unit.number, unit.shard, reason, time.monotonic() - started)


def _keep_or_score(
    unit: Unit,
    scorer: BatchScorer,
    settings: ScoreSettings,
    output: str,
    threads: int,
    heartbeat: Heartbeat,
    started: float,
    aligner: Aligner | None,
) -> Summary:
    """Score a unit once, unless its complete file is there."""
    target = unit_file(output, unit, settings)
    if stat(target) is not None:
        earlier = read_earlier(target)
        if earlier is not None and has_its_crops(target, earlier, settings):
            usable = sum(earlier.status.get(status, 0) for status in DONE)
            heartbeat.keep(earlier.rows, earlier.rows - usable, unit.size)
            return _finished_unit(earlier, unit, started, kept=True)
        remove(target)
    with heartbeat.attempt(unit.size):
        summary = _score(unit, scorer, settings, output, target, threads, heartbeat, aligner)
    done = _finished_unit(summary, unit, started, kept=False)
    for loss in described(done.losses):
        _log.warning("unit %d: %s", unit.number, in_words(loss))
    return done


def _finished_unit(summary: Summary, unit: Unit, started: float, kept: bool) -> Summary:
    known = replace(summary, losses=measured(summary.losses, unit, summary.rows))
    return of_unit(known, unit.number, time.monotonic() - started, kept)


def read_earlier(url: str) -> Summary | None:
    """The summary of a quality file of an earlier run; None if the file is damaged (and must be made again)."""
    try:
        with open_read(url) as stream:
            return read_summary(stream)
    except StorageError:
        raise
    except (pa.ArrowException, KeyError, ValueError, TypeError, OSError) as error:
        # Arrow reports damaged pages as an OSError without errno; with an errno the disk failed.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        _log.warning("%s: damaged (%s: %s), scored again", url, type(error).__name__, first_line(error))
        return None


def _score(
    unit: Unit,
    scorer: BatchScorer,
    settings: ScoreSettings,
    output: str,
    target: str,
    threads: int,
    heartbeat: Heartbeat,
    aligner: Aligner | None,
) -> Summary:
    records = records_of(unit, settings.read, settings.sample)
    with temporary_for(output) as path, crop_shard(output, settings) as crops:
        with QualityWriter(path, unit, settings) as writer:
            for rows in score_records(records, scorer, settings, threads, aligner):
                if crops is not None:
                    crops.add(rows)
                writer.write(rows)
                rejected = sum(row.status not in DONE for row in rows)
                reached = max((row.record.reached for row in rows), default=0)
                heartbeat.add(len(rows), rejected, sum(row.stored or 0 for row in rows), reached)
        # A row for the lost rest of a shard stands for an unknown number of records.
        whole = SHARD_LEVEL.isdisjoint(writer.summary.status)
        if whole and unit.rows >= 0 and writer.summary.rows != unit.rows:
            raise RuntimeError(
                f"{counted(unit.rows, 'record was', 'records were')} planned, "
                f"{counted(writer.summary.rows, 'was', 'were')} read: the shard changed"
            )
        if crops is not None:
            crops.publish(target)
        publish(path, target)
    return writer.summary

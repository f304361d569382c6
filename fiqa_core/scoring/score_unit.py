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

from fiqa_core.scoring.batch_scorer import BatchScorer
from fiqa_core.scoring.losses import described, in_words, measured
from fiqa_core.scoring.progress import Heartbeat
from fiqa_core.scoring.service.errors import ScoringProcessLostError
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.scoring.stream import score_records
from fiqa_core.scoring.summary import Summary, failed_unit, of_unit
from fiqa_core.scoring.table import QualityWriter, read_summary
from fiqa_core.shards.formats import container_of
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
from fiqa_core.wording import counted
from schemas.reasons import SHARD_LEVEL, Status

_log = logging.getLogger(__name__)
_ATTEMPTS = 3
_LOST_SCORING_PROCESSES = 10  # in one unit; each is started anew, and the unit with it

# A disk that is full, read-only or over quota (or a file that may not grow or be read) is so in five seconds too.
_LASTING = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM}


def _is_gone(unit: Unit) -> bool:
    """Whether the shard itself is missing (not a temporary of ours, which another command may have swept away)."""
    place = look_into(unit.url)[1]
    return is_local(place) and not Path(absolute(place)).exists()


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
) -> Summary:
    """Score a unit, unless its file is there already.

    A disk that fails is tried again, unless it is full or may not be written (other stores were tried again request
    by request: `fiqa_core.storage.retry`). A unit that fails for good is returned as a failure with its reason (so
    that the other units finish), and leaves no file.
    """
    started = time.monotonic()
    target = unit_file(output, unit, settings)
    heartbeat = heartbeat or Heartbeat()
    failed = lost = 0
    while failed < _ATTEMPTS:
        try:
            if stat(target) is not None:
                earlier = read_earlier(target)
                if earlier is not None:
                    heartbeat.keep(earlier.rows, earlier.rows - earlier.status.get(Status.SCORED, 0), unit.size)
                    return _of_unit(earlier, unit, started, kept=True)
                remove(target)
            with heartbeat.attempt(unit.size):
                summary = _score(unit, scorer, settings, output, target, threads, heartbeat)
            done = _of_unit(summary, unit, started, kept=False)
            for loss in described(done.losses):
                _log.warning("unit %d: %s", unit.number, in_words(loss))
            return done
        except ScoringProcessLostError as error:
            reason = str(error)
            lost += 1
            if lost == _LOST_SCORING_PROCESSES:
                _log.error("unit %d (%s) failed: %s, %d times", unit.number, unit.shard, reason, lost)
                break
            _log.warning("unit %d (%s): %s; scoring it again", unit.number, unit.shard, reason)
        except StorageError as error:
            # It was tried again already, request by request, or it would fail in the same way again.
            reason = str(error)
            _log.error("unit %d (%s) failed: %s", unit.number, unit.shard, reason)
            break
        except OSError as error:
            reason = f"{type(error).__name__}: {error}"
            if error.errno in _LASTING or (error.errno == errno.ENOENT and _is_gone(unit)):
                _log.error("unit %d (%s) failed: %s", unit.number, unit.shard, reason)
                break
            failed += 1
            _log.warning("unit %d (%s), attempt %d of %d: %s", unit.number, unit.shard, failed, _ATTEMPTS, reason)
            if failed < _ATTEMPTS:
                sleep(4.0 ** (failed - 1))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            _log.exception("unit %d (%s) failed", unit.number, unit.shard)
            break
    return failed_unit(unit.number, unit.shard, reason, time.monotonic() - started)


def _of_unit(summary: Summary, unit: Unit, started: float, kept: bool) -> Summary:
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
        # Arrow tells of damaged pages by an OSError without a number; one with a number is the disk's failure.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = (str(error).splitlines() or [""])[0]
        _log.warning("%s: damaged (%s: %s), scored again", url, type(error).__name__, reason)
        return None


def _score(
    unit: Unit,
    scorer: BatchScorer,
    settings: ScoreSettings,
    output: str,
    target: str,
    threads: int,
    heartbeat: Heartbeat,
) -> Summary:
    records = container_of(unit).read(unit, settings.read)
    with temporary_for(output) as path:
        with QualityWriter(path, unit, settings) as writer:
            for rows in score_records(records, scorer, settings, threads):
                writer.write(rows)
                rejected = sum(row.status is not Status.SCORED for row in rows)
                reached = max((row.record.reached for row in rows), default=0)
                heartbeat.add(len(rows), rejected, sum(row.stored or 0 for row in rows), reached)
        # A row for the lost rest of a shard stands for records whose number nobody knows.
        whole = SHARD_LEVEL.isdisjoint(writer.summary.status)
        if whole and unit.records >= 0 and writer.summary.rows != unit.records:
            raise RuntimeError(
                f"{counted(unit.records, 'record was', 'records were')} planned, "
                f"{counted(writer.summary.rows, 'was', 'were')} read: the shard changed"
            )
        publish(path, target)
    return writer.summary

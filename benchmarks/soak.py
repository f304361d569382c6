"""Commands and workers killed with -9 at random moments, for as long as you like; the table must not notice.

    python -m benchmarks.soak --kills 100
    python -m benchmarks.soak --kills 100 --seed 7 --processes 2

Each story is a fresh output, one to three kills, each followed by --resume, and a last --resume that must finish:
its table must be byte for byte the undisturbed one and nothing may be left over. With `--processes N` the command
has N worker processes, and a kill hits the command (its workers go on as orphans while the resumed one works), one
of its workers, or all of them. Exit code 1 at the first difference, whose output is kept.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.conftest import RECORDS, SHARDS, assert_nothing_left_over, quality_files, write_shard
from tests.faults.moments import finished_units, kill_worker, random_moment
from tests.faults.prepared import Child, Prepared, wait_for

JOB, PAUSE = "tests.faults.jobs:score_slowly", 0.01


def kill(child: Child, processes: int, chance: random.Random) -> str:
    """Kill the command, a worker or everything; says which, empty if nobody was there any more."""
    whom = chance.choice(("command", "worker", "all")) if processes > 1 else "command"
    if not child.running():
        return ""
    if whom == "worker":
        return whom if kill_worker(child, chance) else ""
    if whom == "all":
        child.kill_group()
    else:
        child.kill()
    return whom


def soak(folder: Path, kills: int, seed: int, processes: int) -> Counter[str]:
    """Run stories until there were so many kills."""
    chance = random.Random(seed)
    shards = folder / "shards"
    shards.mkdir()
    for number in range(SHARDS):
        write_shard(shards / f"s-{number:03}.tar", number, RECORDS)
    options = ["--direct_running_mode", "multi_processing", "--direct_num_workers", str(processes)]
    command = ["--input", str(shards), *(options if processes > 1 else []), "--output"]
    seen: Counter[str] = Counter()
    with Prepared(folder) as prepared:
        started = time.monotonic()
        assert prepared.run(JOB, PAUSE, [*command, str(folder / "undisturbed")]) == 0
        seconds = time.monotonic() - started
        expected = quality_files(folder / "undisturbed")
        while seen["kills"] < kills:
            output = folder / f"out-{seen['stories']}"
            arguments = [*command, str(output), "--resume"]
            for _ in range(chance.randint(1, 3)):
                child = prepared.start(JOB, PAUSE, arguments)
                random_moment(child, output, chance, seconds, SHARDS)
                whom = kill(child, processes, chance)
                wait_for(lambda child=child: not child.running(), 300)
                code = child.wait()
                assert code in (0, 2, -9), f"exit code {code}: {child.log}"
                if whom:
                    seen["kills"] += 1
                    seen[whom] += 1
                    seen["in the middle"] += 0 < finished_units(output) < SHARDS
            last = prepared.start(JOB, PAUSE, arguments)
            assert last.wait() == 0, f"seed {seed}, story {seen['stories']}: {last.log}"
            assert quality_files(output) == expected, f"seed {seed}, story {seen['stories']}: {output}"
            if processes == 1:
                assert_nothing_left_over(output)
            shutil.rmtree(output)
            seen["stories"] += 1
            print(f"{seen['kills']} kills, {seen['stories']} stories, {time.monotonic() - started:.0f} s", flush=True)
    return seen


def main() -> int:
    """Parse, soak, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--processes", type=int, default=1, help="worker processes of each command")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    folder = Path(tempfile.mkdtemp(prefix="fiqa-soak-"))
    seen = soak(folder, arguments.kills, arguments.seed, arguments.processes)
    print(", ".join(f"{name}: {count}" for name, count in seen.items()))
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

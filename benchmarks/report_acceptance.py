"""Does a person find planted wrong labels, duplicates and blurred faces from the report alone?

    python -m benchmarks.report_acceptance [--shards FOLDER] [--models FOLDER] [--seed 0] [--images N]
        [--least-images N] [--folder FOLDER]

Real faces with planted noise (`planted_faces`): 5 % of the labels swapped; copies of 4 % each with the same bytes,
nearly the same picture, blurred, half occluded. The commands make the tables, decisions and reports; then Chromium
opens the HTML, looks at every gallery, turns every page, and nothing else is read. Two reports: of a policy that drops
what is found, and of a cautious one that drops exact duplicates only and shows the rest as findings.

A planted face counts as found where it is shown with what a person needs to judge it:
wrong label  under a heading about labels, beside a face of the identity that it looks like; or dropped for another
             reason, with the words that its label looks wrong too
exact, near  beside the other copy, with "the same bytes" or the similarity
blurred      with a sentence that calls it blurred

Precision: of what stands under these headings (for blurred: of the faces in the worst tenth and below the quality rule
whose sentence calls them blurred), the planted share. Real faces are blurred too, and LFW has wrong labels and
duplicates of its own, which count against it here.
"""

import argparse
import io
import shutil
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.faces import DEFAULT_SHARDS
from benchmarks.planted_faces import NEAR, Face, read_faces, swapped, with_copies
from benchmarks.report_reader import SeenItem, everything_shown, opened
from pipelines import embed_dataset, filter_dataset, report_dataset, score_dataset

_SWAPPED = 0.05
_A_SHARD = 1000
KINDS = ("wrong label", "exact", "near", "blurred")
HEADINGS = {
    "wrong label": ("wrong_label", "suspects"),
    "exact": ("duplicate_exact", "found_exact"),
    "near": ("duplicate_near", "found_near"),
}
_OF_QUALITY = ("below_global_quantile", "tenth 1")
DROPS = ["--drop-wrong-labels", "--exact-duplicates", "all", "--near-duplicates", "all", "--drop-worst", "0.05"]
CAUTIOUS = ["--exact-duplicates", "all"]


@dataclass(frozen=True)
class Planted:
    """What was planted: faces and labels by key, in the order of the shards, and the original of each copy by key."""

    faces: Mapping[str, Face]
    labels: Mapping[str, str]
    originals: Mapping[str, str]

    def kinds(self, key: str) -> set[str]:
        """What a face was planted as; several where a copy also has a wrong label."""
        face = self.faces[key]
        kind = "near" if face.kind in NEAR else face.kind
        return {kind} & set(KINDS) | ({"wrong label"} if self.labels[key] != face.person else set())


def plant(faces: Sequence[Face], folder: Path, seed: int) -> Planted:
    """Faces with copies and swapped labels, in a mixed order, as WebDataset shards in `folder`."""
    random = np.random.default_rng(seed)
    every = [*faces, *with_copies(faces, random)]
    labels = swapped([face.person for face in every], _SWAPPED, random)
    order = random.permutation(len(every)).tolist()
    keys = {place: f"{number:06d}" for number, place in enumerate(order)}
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(order), _A_SHARD):
        with tarfile.open(folder / f"faces-{first // _A_SHARD:06d}.tar", "w") as archive:
            for place in order[first : first + _A_SHARD]:
                for ending, data in (("jpg", every[place].data), ("cls", labels[place].encode())):
                    member = tarfile.TarInfo(f"{keys[place]}.{ending}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    copies = {keys[len(faces) + number]: keys[face.original] for number, face in enumerate(every[len(faces) :])}
    return Planted(
        {keys[place]: face for place, face in enumerate(every)},
        {keys[place]: label for place, label in enumerate(labels)},
        copies,
    )


def make_reports(shards: Path, folder: Path, network: Path) -> dict[str, Path]:
    """Score, embed, filter and report, by the commands (once in a folder); the report of each policy, whose decisions
    lie beside it."""
    reports = {name: folder / f"{name}.html" for name in ("drops", "cautious")}
    if all(report.exists() for report in reports.values()):
        return reports
    images = ["--input", str(shards)]
    _run(score_dataset.run, [*images, "--output", f"{folder}/scores", "--phash", "--measures", "--device", "cpu"])
    embedding = ["--output", f"{folder}/embeddings", "--model", str(network), "--onnx-std", "127.5"]
    _run(embed_dataset.run, [*images, *embedding, "--device", "cpu"])
    quality = ["--quality", f"{folder}/scores"]
    found = ["--findings", f"{folder}/drops/findings"]
    embeddings = ["--embeddings", f"{folder}/embeddings"]
    _run(filter_dataset.run, [*quality, *embeddings, *DROPS, "--output", f"{folder}/drops"])
    _run(filter_dataset.run, [*quality, *found, *CAUTIOUS, "--output", f"{folder}/cautious"])
    for name, more in (("drops", []), ("cautious", found)):
        options = ["--decisions", f"{folder}/{name}", *more, "--output", f"{folder}/{name}.html"]
        _run(report_dataset.run, [*quality, *options])
    return reports


def _run(command: Callable[[Sequence[str]], int], words: Sequence[str]) -> None:
    if command(list(words)):
        raise SystemExit(f"failed: {' '.join(words)}; its message is above")


@dataclass(frozen=True)
class Result:
    """By kind: planted, found (keys), and of what stands under the kind's headings how many are planted and all."""

    planted: Mapping[str, set[str]]
    found: Mapping[str, set[str]]
    right: Mapping[str, int]
    shown: Mapping[str, int]


def compare(seen: Sequence[SeenItem], planted: Planted) -> Result:
    """What was seen, against what was planted."""
    truth: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for key in planted.faces:
        for kind in planted.kinds(key):
            truth[kind].add(key)
    found: dict[str, set[str]] = {kind: set() for kind in KINDS}
    right: Counter[str] = Counter()
    shown: Counter[str] = Counter()
    blurred: set[str] = set()
    for item in seen:
        keys = [face.key for face in item.faces]
        for kind, headings in HEADINGS.items():
            if item.section in headings:
                judged = _judged(kind, item, planted)
                shown[kind] += 1
                right[kind] += bool(judged)
                found[kind] |= judged & truth[kind]
        if "the label looks wrong too" in item.why:  # dropped for another reason
            found["wrong label"] |= {keys[0]} & truth["wrong label"]
        if len(keys) == 1 and "blurred" in item.faces[0].sentence.lower():
            found["blurred"] |= set(keys) & truth["blurred"]
            blurred |= set(keys) if item.section in _OF_QUALITY else set()
    right["blurred"], shown["blurred"] = len(blurred & truth["blurred"]), len(blurred)
    return Result(truth, found, right, shown)


def _judged(kind: str, item: SeenItem, planted: Planted) -> set[str]:
    """The faces of an item that are what its heading says, and are shown with what a person needs; empty: a mistake."""
    keys = [face.key for face in item.faces]
    if not all(face.picture for face in item.faces):
        return set()
    if kind == "wrong label":
        explained = "cosine" in item.why and "looks like" in [face.role for face in item.faces]
        return {keys[0]} if explained and "wrong label" in planted.kinds(keys[0]) else set()
    if len(keys) < 2:
        return set()
    one, other = (_original(key, planted) for key in keys[:2])
    same = planted.faces[keys[0]].data == planted.faces[keys[1]].data
    explained = item.why.startswith("the same bytes") if same else "similarity" in item.why
    is_pair = same if kind == "exact" else one == other
    return set(keys[:2]) if explained and is_pair else set()


def _original(key: str, planted: Planted) -> str:
    return planted.originals.get(key, key)


def why_missed(kind: str, missed: set[str], decisions: Path, seen: Sequence[SeenItem]) -> Counter[str]:
    """Where the missed faces are instead (read off the decisions, which the person does not see)."""
    table = pd.concat(map(pd.read_parquet, sorted((decisions / "decisions").iterdir()))).set_index("key")
    sections: dict[str, set[str]] = {}
    for item in seen:
        for face in item.faces:
            sections.setdefault(face.key, set()).add(item.section)
    reasons: Counter[str] = Counter()
    for key in missed:
        row = table.loc[key]
        reason = row.reason if isinstance(row.reason, str) else "kept"
        said = f", label {row.label_verdict}" if kind == "wrong label" else ""
        reasons[f"{reason}{said}; {'shown elsewhere' if key in sections else 'not shown'}"] += 1
    return reasons


def main() -> None:
    """Plant, run the commands, read the reports, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--models", type=Path, default=DEFAULT_SHARDS.parent / "models")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--least-images", type=int, default=1, help="leave identities with fewer out")
    parser.add_argument("--folder", type=Path, help="where everything is made (kept there); default: temporary")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("needs Chromium: apt-get install -y --no-install-recommends chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.folder or Path(name)
        faces = read_faces(arguments.shards, arguments.images, "test", arguments.least_images)
        planted = plant(faces, folder / "faces", arguments.seed)
        reports = make_reports(folder / "faces", folder, arguments.models / "fr_edgeface_xxs.onnx")
        for policy, report in reports.items():
            with opened(report, chromium) as page:
                seen = everything_shown(page)
            print(f"\n{policy}: {len(planted.faces):,} images, {report.stat().st_size / 1e6:.1f} MB", flush=True)
            show(compare(seen, planted), seen, folder / policy)


def show(result: Result, seen: Sequence[SeenItem], decisions: Path) -> None:
    """Print the table, and where the missed faces are."""
    print("| planted | images | found | missed | shown | precision |\n|---|---|---|---|---|---|")
    for kind in KINDS:
        planted, found = result.planted[kind], result.found[kind]
        precision = result.right[kind] / max(result.shown[kind], 1)
        cells = (len(planted), len(found), len(planted - found), result.shown[kind], f"{precision:.3f}")
        print(f"| {kind} | {' | '.join(map(str, cells))} |")
    for kind in KINDS:
        missed = result.planted[kind] - result.found[kind]
        if missed:
            where = why_missed(kind, missed, decisions, seen)
            print(f"missed, {kind}: " + "; ".join(f"{count} {text}" for text, count in where.most_common()))


if __name__ == "__main__":
    main()

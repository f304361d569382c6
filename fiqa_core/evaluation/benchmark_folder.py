"""Benchmarks as their makers give them -> a dataset folder of the original's layout.

Three kinds: an InsightFace `.bin` (images and pairs in one file); a pair list beside a folder of images (LFW, XQLFW and
others); and IJB-C's meta files (pairs of templates, and which images make up a template). Images are copied byte for
byte. The folder holds `images/`, `image_path_list.txt`, `pair_list.txt` (names without the ending of the files) and, of
template sets, `templates.txt`.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.pairs import Pairs, read_pairs
from fiqa_core.evaluation.templates import read_templates
from fiqa_core.shards.insightface_bin.reader import InsightFaceBin
from fiqa_core.shards.output_names import image_suffix
from fiqa_core.shards.unit import ReadSettings
from fiqa_core.storage import stat
from fiqa_core.wording import counted

_ENDINGS = ("jpg", "jpeg", "png", "webp", "bmp", "JPG", "JPEG", "PNG")
IMAGES, PATHS, PAIRS, TEMPLATES = "images", "image_path_list.txt", "pair_list.txt", "templates.txt"


@dataclass(frozen=True)
class Prepared:
    """What a dataset folder holds."""

    images: int
    pairs: int
    templates: int = 0


def of_verification_set(url: str, folder: Path, prefix: str) -> Prepared:
    """Write the images and pairs of a `.bin`; image i is called by its number.

    Args:
        folder: an empty one. prefix: what stands in front of each path of `image_path_list.txt`.

    Raises:
        EvaluationError: the file, or one of its images, cannot be read.
    """
    pairs = read_pairs(url)
    file = stat(url)
    if file is None:
        raise EvaluationError(f"{url}: no such file")
    container, settings = InsightFaceBin(), ReadSettings()
    (folder / IMAGES).mkdir(parents=True)
    width = len(str(len(pairs.names) - 1))
    paths: list[str] = []
    for unit in container.plan(file, len(pairs.names)):
        for record in container.read(unit, settings):
            if record.data is None:
                why = record.fault.message if record.fault is not None else "it has no bytes"
                raise EvaluationError(f"{url}: image {record.index} cannot be read ({why}). Get the file again.")
            name = f"{record.index:0{width}d}.{image_suffix(record.data, '')}"
            (folder / IMAGES / name).write_bytes(record.data)
            paths.append(f"{IMAGES}/{name}")
    if len(paths) != len(pairs.names):
        raise EvaluationError(f"{url}: {len(paths):,} images were read for {len(pairs):,} pairs. Get the file again.")
    _write_lines(folder / PATHS, (prefix + path for path in paths))
    _write_pairs(folder / PAIRS, pairs, {name: f"{int(name):0{width}d}" for name in pairs.names})
    return Prepared(len(paths), len(pairs))


def of_pair_list(url: str, images: Path, folder: Path, prefix: str) -> Prepared:
    """Write a pair list and copies of the images that it names (LFW, XQLFW; or lines `a b 0|1`).

    Args:
        images: where they lie, `<name>` or `<name>.jpg` below it for every name of the list.

    Raises:
        EvaluationError: not a pair list, or an image that is not there.
    """
    pairs = read_pairs(url)
    paths = _copy(pairs.names, images, folder, url)
    _write_lines(folder / PATHS, (prefix + path for path in paths))
    stems = {name: _stem(path) for name, path in zip(pairs.names, paths, strict=True)}
    _write_pairs(folder / PAIRS, pairs, stems)
    return Prepared(len(paths), len(pairs))


def of_templates(url: str, templates_url: str, images: Path, folder: Path, prefix: str) -> Prepared:
    """Write the pairs of templates, the templates, and copies of their images (IJB-B, IJB-C).

    Args:
        url: pairs of templates (`ijbc_template_pair_label.txt`). templates_url: lines `image template media`
            (`ijbc_face_tid_mid.txt`).

    Raises:
        EvaluationError: not such files, a template that the list does not have, or an image that is not there.
    """
    pairs, templates = read_pairs(url), read_templates(templates_url)
    if missing := sorted(set(pairs.names) - set(templates.names)):
        raise EvaluationError(
            f"{url}: {len(missing):,} of its templates are not in {templates_url}, the first is {missing[0]!r}"
        )
    names = list(dict.fromkeys(templates.images))
    paths = dict(zip(names, _copy(names, images, folder, templates_url), strict=True))
    _write_lines(folder / PATHS, (prefix + path for path in paths.values()))
    entries = zip(templates.images, templates.template.tolist(), templates.media.tolist(), strict=True)
    lines = (f"{_stem(paths[image])} {templates.names[owner]} {media}" for image, owner, media in entries)
    _write_lines(folder / TEMPLATES, lines)
    _write_pairs(folder / PAIRS, pairs, {name: name for name in pairs.names})
    return Prepared(len(names), len(pairs), len(templates.names))


def _copy(names: Sequence[str], images: Path, folder: Path, url: str) -> list[str]:
    """Copy the images of these names; their paths below the folder, in the same order."""
    found: list[str] = []
    for name in names:
        if name.startswith("/") or ".." in name.split("/"):
            raise EvaluationError(f"{url}: the name {name!r} points out of the folder of images")
        source = _image(images, name)
        if source is None:
            raise EvaluationError(
                f"{url}: the image {name!r} is not in {images} (with any of the endings {', '.join(_ENDINGS)}). "
                "Name the folder of the images by --images."
            )
        path = f"{IMAGES}/{source.relative_to(images)}"
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():  # two names may be one file
            shutil.copyfile(source, target)
        found.append(path)
    several = len(set(found)) - len({_stem(path) for path in found})
    if several:
        raise EvaluationError(
            f"{url}: {counted(several, 'image differs', 'images differ')} from another only by the ending of the file, "
            "and a pair list names images without it. Rename them."
        )
    return found


def _image(images: Path, name: str) -> Path | None:
    exact = images / name
    if exact.is_file():
        return exact
    candidates = (images / f"{name}.{suffix}" for suffix in _ENDINGS)
    return next((path for path in candidates if path.is_file()), None)


def _stem(path: str) -> str:
    """A path below `images/`, without its ending."""
    return str(PurePosixPath(path).with_suffix("")).removeprefix(f"{IMAGES}/")


def _write_pairs(path: Path, pairs: Pairs, names: dict[str, str]) -> None:
    numbers = zip(pairs.a.tolist(), pairs.b.tolist(), pairs.mated.tolist(), strict=True)
    _write_lines(path, (f"{names[pairs.names[a]]} {names[pairs.names[b]]} {int(mated)}" for a, b, mated in numbers))


def _write_lines(path: Path, lines: Iterator[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"{line}\n" for line in lines)

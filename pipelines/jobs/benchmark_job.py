"""What prepare_benchmark does once its command line is read."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from fiqa_core import storage
from fiqa_core.evaluation.benchmark_folder import Prepared, of_pair_list, of_templates, of_verification_set
from fiqa_core.evaluation.pairs import is_verification_set
from fiqa_core.scoring.original_layout import LISTS
from fiqa_core.wording import counted
from pipelines.cli.errors import OptionError
from pipelines.cli.exit_codes import EXIT_OK
from pipelines.cli.log_format import report
from pipelines.cli.program import runnable


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:  # noqa: ARG001  # nothing is passed on
    """Make the folder beside its place, and put it there when it is complete."""
    folder = _folder(arguments)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with storage.temporary_folder_for(str(folder.parent)) as workspace:
        made = workspace / arguments.name
        made.mkdir()
        found = _make(arguments, made)
        made.rename(folder)
    storage.sweep(str(folder.parent))
    report(_lines(arguments, folder, found))
    return EXIT_OK


def _folder(arguments: argparse.Namespace) -> Path:
    name = arguments.name
    if "/" in name or name.startswith((".", "_")):
        raise OptionError(f"--name {name}: expected the name of a folder")
    for option in ("data_dir", "images"):
        place = getattr(arguments, option)
        if place is not None and not storage.is_local(place):
            raise OptionError(f"--{option.replace('_', '-')} {place}: expected a folder on a disk of this machine")
    folder: Path = Path(storage.absolute(arguments.data_dir)) / LISTS / name
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder}: exists already. Choose another --name, or remove it.")
    return folder


def _make(arguments: argparse.Namespace, made: Path) -> Prepared:
    prefix = f"{LISTS}/{arguments.name}/"
    if is_verification_set(arguments.pairs):
        if arguments.images is not None or arguments.templates is not None:
            raise OptionError("a .bin has its images itself and no templates: leave out --images and --templates")
        return of_verification_set(arguments.pairs, made, prefix)
    if arguments.images is None:
        raise OptionError(f"--images: where are the images of {arguments.pairs}? (Only a .bin has them itself.)")
    images = Path(storage.absolute(arguments.images))
    if arguments.templates is not None:
        return of_templates(arguments.pairs, arguments.templates, images, made, prefix)
    return of_pair_list(arguments.pairs, images, made, prefix)


def _lines(arguments: argparse.Namespace, folder: Path, found: Prepared) -> list[str]:
    templates = f", {counted(found.templates, 'template')}" if found.templates else ""
    scoring = f"--data-dir {shlex.quote(arguments.data_dir)} --datasets {arguments.name} --model_path ..."
    return [
        f"written: {folder} ({counted(found.images, 'image')}, {counted(found.pairs, 'pair')}{templates})",
        f"next: {runnable('score_dataset')} --input {shlex.quote(str(folder / 'images'))} --output ...",
        f"or, as the original does: {runnable('original_scores')} {scoring} --color_channel RGB",
    ]

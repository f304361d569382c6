"""One program for all commands: `fiqa score`, `fiqa filter`, ... The same as `python -m pipelines.MODULE`."""

import difflib
import importlib
import platform
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines.cli.exit_codes import EXIT_BAD_INPUT, EXIT_OK
from pipelines.cli.faults import NotInstalledError, as_ours
from pipelines.cli.log_format import report
from pipelines.cli.program import called_by
from schemas import versions


class Command(NamedTuple):
    """A command: the module that runs it (by a function `run(argv)`), and what it does in a few words."""

    module: str
    summary: str


# A new command is one line here.
COMMANDS = {
    "score": Command("pipelines.score_dataset", "score every image of a dataset: shards -> quality table"),
    "embed": Command("pipelines.embed_dataset", "embed every image with a face recognition network"),
    "align": Command("pipelines.align_dataset", "find the faces of photographs and write them as aligned crops"),
    "filter": Command("pipelines.filter_dataset", "decide by a policy which images to keep, and write them"),
    "clean": Command("pipelines.clean_dataset", "score, decide, write the kept images and report, by one recipe"),
    "evaluate": Command("pipelines.evaluate_quality", "error-versus-discard curves: do the scores mean something?"),
    "calibrate": Command("pipelines.calibrate_scores", "say what scores mean: percentile and predicted error rate"),
    "train": Command("pipelines.train_fiqa", "train a quality network on labelled shards"),
    "baselines": Command("pipelines.measure_baselines", "score by a simple measure (sharpness, stored size) instead"),
    "show": Command("pipelines.show_faces", "show chosen faces of a table as one picture"),
    "export": Command("pipelines.export_scores", "a quality table as a score file or as CSV"),
    "import-scores": Command("pipelines.import_scores", "a score file of another tool as a quality table"),
    "prepare-benchmark": Command("pipelines.prepare_benchmark", "a benchmark's own files as a folder with pairs"),
    "original-scores": Command("pipelines.original_scores", "the original's getQualityScore: its options, its files"),
    "report": Command("pipelines.report_dataset", "one HTML file to look at the scores, the decisions and the faces"),
    "atlas": Command("pipelines.atlas_dataset", "a map of the embeddings with faces, for embedding-atlas and FiftyOne"),
    "networks": Command("pipelines.list_networks", "networks that --network knows: licence, input, where to get them"),
    "export-onnx": Command("pipelines.export_onnx", "a ViT-FIQA or CR-FIQA checkpoint as an ONNX file"),
    "doctor": Command("pipelines.cli.doctor", "check this installation: versions, devices, stores, extras, disk"),
}

# The three that most people need, with what each is for.
USUAL = (
    ("score --input 'shards/*.tar' --output scores", "a quality score for every image"),
    ("filter --quality scores --drop-worst 0.05 --dry-run", "what a policy would drop, and why"),
    (
        "evaluate --quality vit=scores --embeddings fr=embeddings --pairs lfw=pairs.txt --output edc",
        "whether the scores say which faces are recognised",
    ),
)


def main(argv: Sequence[str] | None = None, prog: str = "fiqa") -> int:
    """Run one command; returns its exit code (docs/exit_codes.md).

    Args:
        argv: command line without the program's name; None for `sys.argv`.
        prog: how the program is called, for usage lines and errors.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    name, *rest = words or ["help"]
    if name == "help" and rest:
        name, rest = rest[0], ["--help"]
    if name in ("help", "-h", "--help"):
        report(_overview(prog))
        return EXIT_OK
    if name in ("version", "--version"):
        report([f"fiqa-pipelines {versions.PACKAGE_VERSION} (Python {platform.python_version()})"])
        return EXIT_OK
    if name not in COMMANDS:
        print(_unknown(name, prog), file=sys.stderr)
        return EXIT_BAD_INPUT
    with called_by({command.module.rpartition(".")[2]: f"{prog} {each}" for each, command in COMMANDS.items()}):
        try:
            return int(_load(COMMANDS[name].module).run(rest))
        except NotInstalledError as error:
            print(f"{prog} {name}: {error}", file=sys.stderr)
            return EXIT_BAD_INPUT
        except SystemExit as end:  # of argparse: after --help, or an option that it refuses
            return end.code if isinstance(end.code, int) else EXIT_OK if end.code is None else EXIT_BAD_INPUT


def _load(module: str) -> Any:
    """The module of a command.

    Raises:
        NotInstalledError: a package is missing, so that not even its options can be read.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise as_ours(error) or error from None


def _overview(prog: str) -> list[str]:
    usual = [f"  {prog} {line}" for line, _ in USUAL]
    width = max(map(len, COMMANDS)) + 2
    return [
        f"usage: {prog} COMMAND [options]",
        "",
        "Score face datasets by image quality, and filter them by the scores. The usual three:",
        "",
        *(line for command, (_, purpose) in zip(usual, USUAL, strict=True) for line in (f"  # {purpose}", command)),
        "",
        "commands:",
        *(f"  {name:<{width}}{command.summary}" for name, command in COMMANDS.items()),
        "",
        f"Options of a command, with examples: {prog} COMMAND --help. Version: {prog} --version.",
    ]


def _unknown(name: str, prog: str) -> str:
    kind = "unknown option" if name.startswith("-") else "unknown command"
    known = [*COMMANDS, "help", "version"]
    begun = [each for each in known if name and each.startswith(name)]  # `import` for import-scores
    close = [] if name.startswith("-") else begun or difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"{prog}: {kind} {name!r}.{hint}\nAll commands: {prog} --help"


if __name__ == "__main__":
    sys.exit(main(prog="python -m pipelines.fiqa"))

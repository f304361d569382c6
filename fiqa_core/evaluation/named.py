"""Named inputs on a command line: `[DATASET:]NAME=PATH`, or a path alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.label_pairs import is_label_pairs

_NAMED = re.compile(r"(?:([\w.+-]+):)?([\w.+-]+)=(.+)")
_SAYS_NOTHING = {"quality", "pairs", "pair_list", "embeddings", "template_pair_label"}


@dataclass(frozen=True)
class Named:
    """A path with its name; `dataset` is empty where it serves every dataset.

    `given`: whether the name was given; otherwise it is derived from the path.
    """

    dataset: str
    name: str
    path: str
    given: bool = True

    @property
    def text(self) -> str:
        """The text as the user wrote it."""
        return (f"{self.dataset}:" if self.dataset else "") + (f"{self.name}=" if self.given else "") + self.path

    def serves(self, dataset: str) -> bool:
        """Whether it is for this dataset."""
        return self.dataset in ("", dataset)


def parse_named(texts: Sequence[str], option: str) -> list[Named]:
    """Parse the values of an option; a path alone is named after its last meaningful part.

    Raises:
        EvaluationError: two have the same name.
    """
    found: dict[tuple[str, str], Named] = {}
    for text in texts:
        named = _named(text, option)
        earlier = found.setdefault((named.dataset, named.name), named)
        if earlier is not named:
            raise EvaluationError(
                f"{option}: {earlier.path} and {named.path} are both called {named.name!r}; give them names: "
                "NAME=PATH (or DATASET:NAME=PATH where each is for one dataset)"
            )
    return list(found.values())


def by_dataset(texts: Sequence[str], option: str, datasets: Sequence[str]) -> dict[str, str]:
    """Paths by dataset, of an option that takes `DATASET=PATH`; one without a name is for the only dataset.

    Raises:
        EvaluationError: no dataset of that name.
    """
    found = parse_named(texts, option)
    if len(found) == 1 == len(datasets) and not found[0].given:
        return {datasets[0]: found[0].path}
    for named in found:
        if named.name not in datasets or named.dataset or not named.given:
            raise EvaluationError(
                f"{option} {named.text}: which dataset is it for? Give DATASET=PATH; the names in --pairs are "
                f"{', '.join(datasets)}"
            )
    return {named.name: named.path for named in found}


def check_datasets(named: Sequence[Named], option: str, datasets: Sequence[str]) -> None:
    """Refuse `DATASET:NAME=PATH` for a dataset that does not exist.

    Raises:
        EvaluationError: one such.
    """
    for entry in named:
        if entry.dataset and entry.dataset not in datasets:
            raise EvaluationError(
                f"{option} {entry.text}: no dataset {entry.dataset!r}; the names in --pairs are {', '.join(datasets)}"
            )


def for_dataset(named: Sequence[Named], dataset: str) -> dict[str, str]:
    """Paths by name for one dataset; an input for this dataset takes precedence over one for all datasets."""
    own = sorted((entry for entry in named if entry.serves(dataset)), key=lambda entry: entry.dataset != "")
    paths = {entry.name: entry.path for entry in own}
    order = list(dict.fromkeys(entry.name for entry in named if entry.name in paths))
    return {name: paths[name] for name in order}


def _named(text: str, option: str) -> Named:
    if option == "--pairs" and is_label_pairs(text) and not Path(text).exists():
        return Named("", "labels", text, given=False)
    match = _NAMED.fullmatch(text)
    name, equals, _ = text.partition("=")
    if not equals or "/" in name or Path(text).exists():
        return Named("", _name_of(text), text, given=False)
    if match is None:
        raise EvaluationError(
            f"{option} {text}: {name!r} is not a valid name, and there is no such file. A name has letters, digits "
            "and . _ + - (DATASET:NAME=PATH for one dataset)"
        )
    return Named(match[1] or "", match[2], match[3])


def _name_of(path: str) -> str:
    parts = [part for part in re.sub(r"[*?\[].*", "", path).rstrip("/").split("/") if part]
    for part in reversed(parts):
        stem = re.sub(r"\.(parquet|txt|csv|npy|onnx)$", "", part)
        if stem and stem not in _SAYS_NOTHING:
            return re.sub(r"[^\w.+-]", "_", stem)
    return re.sub(r"[^\w.+-]", "_", parts[-1]) if parts else "input"

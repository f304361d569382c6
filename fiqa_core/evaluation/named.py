"""What a command line names: `[DATASET:]NAME=PATH`, or a path alone."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fiqa_core.evaluation.errors import EvaluationError

_NAMED = re.compile(r"(?:([\w.+-]+):)?([\w.+-]+)=(.+)")
_SAYS_NOTHING = {"quality", "pairs", "pair_list", "embeddings", "template_pair_label"}


@dataclass(frozen=True)
class Named:
    """A path with its name; `dataset` is empty where it serves every dataset."""

    dataset: str
    name: str
    path: str

    def serves(self, dataset: str) -> bool:
        """Whether it is for this dataset."""
        return self.dataset in ("", dataset)


def parse_named(texts: Sequence[str], option: str) -> list[Named]:
    """Parse what an option was given; a path alone is called by its own last part that says something.

    Raises:
        EvaluationError: two have the same name.
    """
    found: dict[tuple[str, str], Named] = {}
    for text in texts:
        match = _NAMED.fullmatch(text)
        named = Named(match[1] or "", match[2], match[3]) if match else Named("", _name_of(text), text)
        earlier = found.setdefault((named.dataset, named.name), named)
        if earlier is not named:
            raise EvaluationError(
                f"{option}: {earlier.path} and {named.path} are both called {named.name!r}; give them names: "
                "NAME=PATH (or DATASET:NAME=PATH where each is for one dataset)"
            )
    return list(found.values())


def for_dataset(named: Sequence[Named], dataset: str) -> dict[str, str]:
    """Paths by name for one dataset; what is given for it goes before what serves all."""
    own = sorted((entry for entry in named if entry.serves(dataset)), key=lambda entry: entry.dataset != "")
    paths = {entry.name: entry.path for entry in own}
    order = list(dict.fromkeys(entry.name for entry in named if entry.name in paths))
    return {name: paths[name] for name in order}


def _name_of(path: str) -> str:
    parts = [part for part in re.sub(r"[*?\[].*", "", path).rstrip("/").split("/") if part]
    for part in reversed(parts):
        stem = re.sub(r"\.(parquet|txt|csv|npy|onnx)$", "", part)
        if stem and stem not in _SAYS_NOTHING:
            return re.sub(r"[^\w.+-]", "_", stem)
    return re.sub(r"[^\w.+-]", "_", parts[-1]) if parts else "input"

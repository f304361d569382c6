"""Where evaluate_quality finds qualities and embeddings: each table is read once, each network embeds once."""

from collections.abc import Callable, Sequence
from pathlib import Path

from fiqa_core.errors import FiqaError
from fiqa_core.evaluation.errors import EvaluationError
from fiqa_core.evaluation.sources import Embeddings, Qualities, read_embeddings, read_qualities
from fiqa_core.storage import without_query
from pipelines.cli.exit_codes import EXIT_INCOMPLETE, EXIT_OK

NETWORKS = (".onnx", ".pt", ".pth", ".safetensors")


def is_network(path: str) -> bool:
    """Whether a path is a face recognition network, by its suffix."""
    return without_query(path).lower().endswith(NETWORKS)


class Sources:
    """Qualities and embeddings by path.

    Args:
        workspace: folder for the tables of embeddings that networks make here.
        embed: runs embed_dataset with a command line; gives its exit code, or raises its error.
        options: embed_dataset's own, for every network.
        allow_incomplete: also use tables of runs that are not finished or could not read everything.
    """

    def __init__(
        self,
        workspace: Path,
        embed: Callable[[Sequence[str]], int],
        options: Sequence[str],
        allow_incomplete: bool = False,
    ) -> None:
        self._allow = allow_incomplete
        self._workspace = workspace
        self._run_embed = embed
        self._options = list(options)
        self._qualities: dict[str, Qualities] = {}
        self._embeddings: dict[tuple[str, str], Embeddings] = {}

    def qualities(self, path: str) -> Qualities:
        """The table or score file at a path."""
        if path not in self._qualities:
            self._qualities[path] = read_qualities(path, self._allow)
        return self._qualities[path]

    def embeddings(self, path: str, images: str = "") -> Embeddings:
        """The table or folder at a path; or, where a network lies there, what it makes of `images`.

        Raises:
            EvaluationError: a network and no images to embed, or embedding them failed.
        """
        place = (path, images if is_network(path) else "")
        if place not in self._embeddings:
            table = self._embed(path, images) if is_network(path) else path
            self._embeddings[place] = read_embeddings(table, self._allow)
        return self._embeddings[place]

    def _embed(self, model: str, images: str) -> str:
        if not images:
            raise EvaluationError(
                f"{model}: a network, which needs the images of the pairs: give their dataset with --images (or "
                "embed them with fiqa embed, and give its output)"
            )
        output = str(self._workspace / f"embeddings-{len(self._embeddings)}")
        flags = ["--model", model, "--input", images, "--output", output, *self._options]
        try:
            code = self._run_embed(flags)
        except FiqaError as error:
            raise EvaluationError(f"{images} was not embedded by {model}: {error}") from error
        if code not in (EXIT_OK, EXIT_INCOMPLETE):
            raise EvaluationError(f"{images} was not embedded by {model}: see above")
        return output

"""The scores of a sample at every exit of a ViT, read in one pass, as a table."""

from dataclasses import replace

import torch

from fiqa_core.alignment.aligner import Aligner
from fiqa_core.networks.checkpoints import LoadedNetwork
from fiqa_core.networks.exits import ExitError
from fiqa_core.networks.vit_fiqa import ViTFIQA
from fiqa_core.scoring.score_unit import score_unit, unit_file
from fiqa_core.scoring.scorer import Outputs, QualityScorer
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.unit import Unit
from fiqa_core.storage import make_folder


class EveryExitScorer(QualityScorer):
    """Scores with a ViT at every exit: `Scores.quality` is the ordinary score, `Scores.embedding` float32 (B, depth)
    has the score of exit i in column i - 1.

    Raises:
        ExitError: the network is not a ViT.
    """

    def __init__(self, loaded: LoadedNetwork, device: str, precision: str, batch_size: int | None) -> None:
        if not isinstance(loaded.network, ViTFIQA):
            raise ExitError(f"{loaded.uri}: exits exist for ViT networks only, and this is an {loaded.arch}")
        super().__init__(loaded, device, precision, batch_size)
        self.depth = loaded.network.config.depth

    def _network_outputs(self, x: torch.Tensor) -> Outputs:
        scores = self._network.quality_after_each(x).float()
        return Outputs(scores[:, -1], scores)


def score_every_exit(
    units: tuple[Unit, ...],
    scorer: EveryExitScorer,
    settings: ScoreSettings,
    folder: str,
    threads: int,
    aligner: Aligner | None,
) -> list[str]:
    """Score units into quality tables below a local folder, whose column `embedding` has the scores of all exits.

    A unit that cannot be read is left out: the run itself reports it. Returns the URLs of the table files.
    """
    settings = replace(
        settings, embeddings="float32", embedding_dim=scorer.depth, phash=False, measures=False, crops=None
    )
    make_folder(f"{folder}/quality")
    written: list[str] = []
    for unit in units:
        summary = score_unit(unit, scorer, settings, folder, threads, aligner=aligner)
        if not summary.failures:
            written.append(unit_file(folder, unit, settings))
    return written

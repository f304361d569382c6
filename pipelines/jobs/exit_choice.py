"""`--exit auto:SHARE`: the exit of this run, found on a sample of its input before anything is scored."""

import argparse
import dataclasses
import logging
import tempfile
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core.alignment.source import AlignerSource
from fiqa_core.networks.exits import Exits, normal
from fiqa_core.scoring.scorer_sources import CheckpointScorer, ScorerSource
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.plan import Plan
from fiqa_core.shards.sample import Sample, take_sample
from pipelines.cli.exit_options import AutoExit, exit_policy
from pipelines.runners.beam_options import is_local

_log = logging.getLogger(__name__)
SAMPLE = 1000  # images; 0.99 of them are 10 that may be decided otherwise


def settle_exit(
    arguments: argparse.Namespace,
    options: PipelineOptions,
    settings: ScoreSettings,
    source: ScorerSource,
    plan: Plan,
    aligner: AlignerSource | None,
) -> tuple[ScoreSettings, ScorerSource]:
    """Settings and source with the exit that was found, which is logged; unchanged where none is to be found.

    The sample is the same for the same input and --seed, so a run that is resumed finds the same exit again.

    Raises:
        ExitError: the sample does not tell exits apart.
    """
    wanted = getattr(arguments, "exit", None)
    if not isinstance(wanted, AutoExit) or not isinstance(source, CheckpointScorer):
        return settings, source
    # Most runs need neither the decisions' database nor, in this process, a network.
    from fiqa_core.curation.decisions.exit_agreement import find_exit
    from fiqa_core.networks.architectures import heads_named
    from fiqa_core.networks.checkpoints import load_checkpoint
    from fiqa_core.scoring.every_exit import EveryExitScorer, score_every_exit

    policy = exit_policy(arguments)
    if policy is None:
        raise ValueError("--exit auto:SHARE without a policy")  # refused when the command line was read
    part, sample = take_sample(plan, Sample("sample", SAMPLE, arguments.seed or 0), settings.read)
    # Elsewhere there may be another device: then this one's exact numbers are what is compared.
    device, precision = (source.device, settings.precision) if is_local(options) else ("cpu", "fp32")
    loaded = load_checkpoint(source.uri, embeddings=False, heads=heads_named(settings.arch))
    scorer = EveryExitScorer(loaded, device, precision, source.batch_size)
    _log.info("--exit auto: reading all exits of %s", sample.in_words().partition(" (")[0])
    with tempfile.TemporaryDirectory(prefix="fiqa-exit-") as folder:
        sampled = dataclasses.replace(settings, sample=sample)
        threads = arguments.decode_threads or 1
        table = score_every_exit(
            part.units, scorer, sampled, folder, threads, None if aligner is None else aligner.load()
        )
        found = find_exit(table, policy, wanted.share, sample.out_of, Path(folder))
    _log.info("--exit auto: %s", found.in_words())
    exits = normal(Exits(found.exit), found.depth)
    chosen = dataclasses.replace(settings, exit=exits.exit)
    return chosen, dataclasses.replace(source, settings=chosen)

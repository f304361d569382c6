"""Error-versus-discard curves on real faces: LFW's test identities, natural and as a mixed-quality copy.

python -m benchmarks.edc_faces --output FOLDER [--shards FOLDER] [--models FOLDER] [--checkpoint FILE] [--bootstrap 100]

Makes the copy, embeds both with two recognisers, scores them with two LightQNets, sharpness, stored size (and the
network of --checkpoint), lists pairs, and evaluates. What is there already is kept, so it can be called again.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.faces import DEFAULT_SHARDS, shards
from benchmarks.lfw_pairs import write_pairs
from benchmarks.mixed_quality import mixed_copy
from fiqa_core.scoring.measures import MEASURES
from pipelines import embed_dataset, evaluate_quality, measure_baselines, score_dataset

DEFAULT_MODELS = DEFAULT_SHARDS.parent / "models"
RECOGNISERS = {
    "mobilefacenet": ("fr_mobilefacenet.onnx", ["--onnx-mean", "127.5", "--onnx-std", "128"]),
    "edgeface": ("fr_edgeface_xxs.onnx", []),
}
_LIGHTQNET = ["--output-kind", "quality", "--onnx-color", "bgr", "--onnx-mean", "128", "--onnx-std", "128"]
QUALITY = {name: (f"{name}.onnx", _LIGHTQNET) for name in ("lightqnet-dm050", "lightqnet-dm025")}


def make(run: Callable[[Sequence[str]], int], flags: Sequence[str], output: Path) -> str:
    """The output of a command, made now unless it is there; SystemExit if the command fails."""
    if not (output / "summary.json").exists() and (code := run([*flags, "--output", str(output)])):
        raise SystemExit(code)
    return str(output)


def main() -> None:
    """Make what is missing, then evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, default=DEFAULT_SHARDS)
    parser.add_argument("--models", type=Path, default=DEFAULT_MODELS)
    parser.add_argument("--checkpoint", help="also the quality of this network (NAME=FILE)")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--per-identity", type=int, default=10, help="images of one person in the pairs, 0 = all")
    parser.add_argument("--bootstrap", type=int, default=100)
    arguments = parser.parse_args()
    work: Path = arguments.output
    natural = shards(arguments.shards, "test-*.tar")
    copy = [work / "mixed" / path.name for path in natural]
    if not all(path.exists() for path in copy):
        mixed_copy(natural, work / "mixed", seed=0)
    quality, embeddings = [], []
    for dataset, paths in (("natural", natural), ("mixed", copy)):
        images = ["--input", *map(str, paths)]
        for name, (file, options) in {**RECOGNISERS, **QUALITY}.items():
            flags = [*images, "--model", str(arguments.models / file), *options]
            made = make(embed_dataset.run, flags, work / f"{dataset}-{name}")
            (embeddings if name in RECOGNISERS else quality).append(f"{dataset}:{name}={made}")
        for name in MEASURES:
            made = make(measure_baselines.run, [*images, "--measure", name], work / f"{dataset}-{name}")
            quality.append(f"{dataset}:{name}={made}")
        if arguments.checkpoint:
            name, _, file = arguments.checkpoint.partition("=")
            made = make(score_dataset.run, [*images, "--model", file], work / f"{dataset}-{name}")
            quality.append(f"{dataset}:{name}={made}")
    pairs = work / f"pairs-{arguments.per_identity}.txt"
    write_pairs(str(work / "natural-edgeface" / "quality"), pairs, per_identity=arguments.per_identity)
    flags = ["--quality", *quality, "--embeddings", *embeddings, "--pairs", f"natural={pairs}", f"mixed={pairs}"]
    flags += ["--embedding-norm", "--recommend", "--bootstrap", str(arguments.bootstrap)]
    flags += ["--output", str(work / f"edc-{arguments.per_identity}"), "--overwrite"]
    print("python -m pipelines.evaluate_quality", *flags)
    raise SystemExit(evaluate_quality.run(flags))


if __name__ == "__main__":
    main()

"""In which numbers a network computes: what `auto` means, half-precision weights, batches that are begun, compiling."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from apache_beam.options.pipeline_options import PipelineOptions

from fiqa_core.networks.vit_fiqa import ViTConfig, ViTFIQA
from fiqa_core.scoring.precision import PrecisionError, keeps_half_weights, resolve_precision
from fiqa_core.scoring.scorer import QualityScorer
from fiqa_core.scoring.scorer_sources import CheckpointScorer
from fiqa_core.scoring.settings import ScoreSettings
from fiqa_core.shards.plan import Plan
from fiqa_core.shards.unit import Unit
from pipelines.cli.precision_options import COMPILE_IMAGES, cpu_hint
from pipelines.jobs.network_settings import settle_compile, settle_precision
from pipelines.runners.beam_options import beam_options

FACES = np.random.default_rng(0).integers(0, 256, (12, 7, 7, 3), np.uint8).repeat(16, 1).repeat(16, 2)


@pytest.mark.parametrize(
    ("name", "device", "arch", "found"),
    [
        ("auto", "cpu", "vit_s", "fp32"),
        ("auto", "cuda:1", "vit_s", "fp16"),
        ("auto", "cuda", "iresnet50", "tf32"),
        ("fp32", "cuda", "vit_s", "fp32"),
        ("bf16", "cpu", "vit_s", "bf16"),
    ],
)
def test_auto_is_exact_on_a_cpu_and_the_fast_one_that_keeps_the_ranks_on_a_gpu(name, device, arch, found):
    assert resolve_precision(name, device, arch) == found


def test_a_precision_that_the_device_does_not_have_is_refused():
    with pytest.raises(PrecisionError, match="tf32 is for NVIDIA GPUs"):
        resolve_precision("tf32", "cpu", "vit_s")
    with pytest.raises(ValueError, match="expected one of"):
        QualityScorer.from_checkpoint(device="cpu", precision="fp64")


def test_auto_is_said_once_and_stands_in_the_settings_as_what_it_was(caplog):
    caplog.set_level("INFO")
    arguments = argparse.Namespace(precision="auto")
    assert settle_precision(arguments, beam_options([], []), "cuda", "vit_s") == "fp16"
    assert arguments.precision == "fp16"
    assert "precision fp16 (6.7 times the speed of fp32" in caplog.text
    assert "--precision fp32 for exact scores" in caplog.text


def test_workers_that_nobody_knows_get_exact_scores():
    options = PipelineOptions(["--runner", "PortableRunner"])
    assert settle_precision(argparse.Namespace(precision="auto"), options, "auto", "vit_s") == "fp32"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2 avx512_vnni amx_bf16", "bf16"), ("avx2 avx512_vnni", "int8"), ("avx2", "int8"), ("fpu sse", None)],
)
def test_the_faster_precision_of_a_cpu_is_told_by_its_flags(tmp_path: Path, flags: str, expected: str | None):
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n")
    found = cpu_hint(tmp_path / "cpuinfo")
    assert (found and found[0]) == expected
    convolutional = cpu_hint(tmp_path / "cpuinfo", convolutional=True)
    assert (convolutional and convolutional[0]) == (expected if expected == "bf16" else None)


@pytest.mark.parametrize("mode", ["token", "full", "crfiqa"])
def test_half_weights_keep_norm_and_heads_in_float32_and_give_nearly_the_same(mode):
    torch.manual_seed(0)
    network = ViTFIQA(ViTConfig(width=64, depth=3, mode=mode)).eval()
    faces = torch.from_numpy(FACES).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        exact, quality = network(faces)
        assert keeps_half_weights(network, "fp16", "cuda")
        found, half_quality = network(faces)
        fast = network.quality(faces)
    kept = {name.partition(".")[0] for name, tensor in network.named_parameters() if tensor.dtype == torch.float32}
    assert kept == {"norm", "head_qs", "feature"}
    assert found.dtype == half_quality.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(found, exact).min() > 0.9999
    assert 0 < (half_quality - quality).abs().max() < 0.02 * quality.std()
    assert (fast - half_quality[:, 0]).abs().max() < 0.02 * quality.std()


def test_a_batch_that_is_begun_gives_the_scores_of_one_that_is_waited_for():
    scorer = QualityScorer.from_checkpoint(device="cpu", batch_size=8)
    first, second = scorer.begin(FACES[:8]), scorer.begin(FACES[8:])
    np.testing.assert_array_equal(first().quality, scorer.score_pixels(FACES[:8]).quality)
    np.testing.assert_array_equal(second().quality, scorer.score_pixels(FACES[8:]).quality)


def test_a_compiled_network_is_always_given_whole_batches(monkeypatch):
    sizes = []

    def compile_nothing(function, dynamic):
        assert dynamic is False

        def call(images):
            sizes.append(len(images))
            return function(images)

        return call

    monkeypatch.setattr(torch, "compile", compile_nothing)
    compiled = QualityScorer.from_checkpoint(device="cpu", batch_size=8, compiled=True)
    found = compiled.score_pixels(FACES).quality
    assert sizes == [8, 8]
    plain = QualityScorer.from_checkpoint(device="cpu", batch_size=8).score_pixels(FACES).quality
    np.testing.assert_allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize(
    ("chosen", "device", "images", "compiled"),
    [
        ("auto", "cpu", COMPILE_IMAGES, False),
        ("on", "cpu", 10, True),
        ("off", "cpu", COMPILE_IMAGES, False),
        ("auto", "cuda", COMPILE_IMAGES, True),
        ("auto", "cuda", COMPILE_IMAGES - 1, False),
    ],
)
def test_compiling_is_a_setting_and_auto_wants_images_that_repay_it(monkeypatch, chosen, device, images, compiled):
    monkeypatch.setattr("pipelines.jobs.network_settings.resolve_device", torch.device)
    settings = ScoreSettings("vit_s", "token", "0" * 64, precision="fp16")
    source = CheckpointScorer("m.pt", settings, device)
    plan = Plan((Unit(0, "parquet", "a", "a", 0, 1, 0, images, 1, ""),))
    arguments = argparse.Namespace(compile=chosen)
    found, of_source = settle_compile(arguments, beam_options([], []), settings, source, plan)
    assert found.compiled is compiled
    assert of_source.settings == found
    assert (found.digest() != settings.digest()) is compiled

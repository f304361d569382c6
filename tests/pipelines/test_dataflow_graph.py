"""The job graph as Dataflow gets it: where the GPU is asked for, and what moves between the steps."""

import copy
import io
import logging
import tarfile
from pathlib import Path

import pytest
from apache_beam.internal import pickler
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, execution
from apache_beam.runners.worker import bundle_processor

from pipelines.score_dataset import run
from tests.fakes import MeanScorerSource
from tests.pipelines.cloud import PROJECT, REGION, bucket_files, storage_emulator
from tests.shared import lfw_faces, needs_shared

pytestmark = needs_shared

ACCELERATOR = common_urns.resource_hints.ACCELERATOR.urn
MIN_RAM = common_urns.resource_hints.MIN_RAM_BYTES.urn
L4 = b"type:nvidia-l4;count:1;install-nvidia-driver"


@pytest.fixture(scope="module")
def bucket():
    with pytest.MonkeyPatch.context() as monkeypatch, storage_emulator(monkeypatch) as url:
        for shard in ("a", "b", "c"):
            bucket_files().pipe_file(f"{url}/faces/{shard}.tar", tar_of(lfw_faces(5)))
        yield url


def tar_of(faces) -> bytes:
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w") as archive:
        for key, _, data in faces:
            member = tarfile.TarInfo(f"{key}.jpg")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stored.getvalue()


def translated(bucket, monkeypatch, *arguments) -> beam_runner_api_pb2.Pipeline:
    """The pipeline as DataflowRunner would send it, from a dry run of the command."""
    jobs = []
    original = DataflowRunner.run_pipeline

    def keep(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        jobs.append(result.job)
        return result

    monkeypatch.setattr(DataflowRunner, "run_pipeline", keep)
    command = ["--input", f"{bucket}/faces/*.tar", "--output", f"{bucket}/out", "--runner", "DataflowRunner"]
    command += ["--project", PROJECT, "--region", REGION, "--temp_location", f"{bucket}/tmp", "--no_auth"]
    command += ["--sdk_container_image", "example.dev/fiqa:1", "--dry_run", "True", *arguments]
    assert run(command, MeanScorerSource()) == 0
    return jobs[0].proto_pipeline


def hints_by_step(proto) -> dict[str, dict[str, bytes]]:
    """Resource hints of the environment that each step with user code runs in."""
    environments = proto.components.environments
    return {
        t.unique_name: dict(environments[t.environment_id].resource_hints)
        for t in proto.components.transforms.values()
        if t.environment_id and not t.subtransforms
    }


def optimised_stages(proto):
    runner = FnApiRunner()
    runner._use_state_iterables = False
    context, stages = runner.create_stages(copy.deepcopy(proto))
    return context, [stage for stage in stages if stage.transforms]


def steps(stage) -> set[str]:
    return {
        transform.unique_name
        for transform in stage.transforms
        if transform.spec.urn not in (bundle_processor.DATA_INPUT_URN, bundle_processor.DATA_OUTPUT_URN)
    }


def test_a_dry_run_translates_the_job_and_writes_nothing(bucket, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    before = bucket_files().find(bucket)
    translated(bucket, monkeypatch, "--gpu", "nvidia-l4")
    assert bucket_files().find(bucket) == before
    assert "nothing was submitted" in caplog.text


def test_the_gpu_is_asked_for_by_the_scoring_step_and_by_no_other(bucket, monkeypatch):
    hints = hints_by_step(translated(bucket, monkeypatch, "--gpu", "nvidia-l4"))
    assert len(hints) > 5
    assert {name for name, found in hints.items() if found} == {"ScoreDataset/ScoreUnit"}
    assert hints["ScoreDataset/ScoreUnit"] == {ACCELERATOR: L4}


def test_the_count_is_part_of_the_hint(bucket, monkeypatch):
    hints = hints_by_step(translated(bucket, monkeypatch, "--gpu", "nvidia-tesla-t4:2"))
    assert hints["ScoreDataset/ScoreUnit"][ACCELERATOR] == b"type:nvidia-tesla-t4;count:2;install-nvidia-driver"


def test_dataflow_prime_is_told_the_memory_instead_of_a_machine_type(bucket, monkeypatch):
    proto = translated(bucket, monkeypatch, "--gpu", "nvidia-l4", "--dataflow_service_options", "enable_prime")
    assert hints_by_step(proto)["ScoreDataset/ScoreUnit"] == {ACCELERATOR: L4, MIN_RAM: b"14000000000"}


def test_without_a_gpu_or_with_the_service_option_no_step_has_a_hint(bucket, monkeypatch):
    service = f"worker_accelerator={L4.decode()}"
    for arguments in ((), ("--dataflow_service_options", service)):
        assert not any(hints_by_step(translated(bucket, monkeypatch, *arguments)).values())


def test_reading_and_scoring_are_one_step_in_a_stage_of_their_own(bucket, monkeypatch):
    proto = translated(bucket, monkeypatch, "--gpu", "nvidia-l4")
    _, stages = optimised_stages(proto)
    with_gpu = [
        stage for stage in stages if proto.components.environments[stage.environment].resource_hints.get(ACCELERATOR)
    ]
    assert [steps(stage) for stage in with_gpu] == [{"ScoreDataset/ScoreUnit"}]
    (transform,) = [t for t in with_gpu[0].transforms if t.unique_name == "ScoreDataset/ScoreUnit"]
    payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
    assert type(pickler.loads(payload.do_fn.payload)[0]).__name__ == "ScoreUnitFn"


def test_what_crosses_the_stages_are_units_and_summaries(bucket, monkeypatch):
    """Every PCollection that leaves a stage is named here: a new one must be looked at before it is added."""
    context, stages = optimised_stages(translated(bucket, monkeypatch, "--gpu", "nvidia-l4"))
    crossing = set()
    for stage in stages:
        for transform in stage.transforms:
            if transform.spec.urn == bundle_processor.DATA_OUTPUT_URN:
                (pcollection,) = transform.inputs.values()
                crossing.add(producer(context.components, stage.transforms, pcollection))
    assert crossing == {
        "Units/MaybeReshuffle/Reshuffle/ReshufflePerKey/Map(reify_metadata_default_window)",
        "Units/Map(decode)",
        "ScoreDataset/ScoreUnit",
        "ScoreDataset/AddUp/CombinePerKey/Precombine",
        "ScoreDataset/AddUp/UnKey",
    }


def producer(components, transforms, pcollection) -> str:
    (name,) = {t.unique_name for t in transforms if pcollection in t.outputs.values()}
    return name


def test_no_image_byte_moves_between_stages(tmp_path, monkeypatch):
    """Runs the pipeline over real faces and looks at every byte that one stage hands to another."""
    faces = lfw_faces(60)
    (tmp_path / "in").mkdir()
    for shard in range(3):
        Path(tmp_path / "in" / f"{shard}.tar").write_bytes(tar_of(faces[20 * shard : 20 * (shard + 1)]))
    moved: list[bytes] = []
    for buffer in (execution.ListBuffer, execution.GroupingBuffer):
        original = buffer.append

        def keep(self, data, original=original):
            moved.append(bytes(data))
            return original(self, data)

        monkeypatch.setattr(buffer, "append", keep)
    command = ["--input", str(tmp_path / "in" / "*.tar"), "--output", str(tmp_path / "out")]
    assert run(command, MeanScorerSource()) == 0
    everything = b"".join(moved)
    assert b".tar" in everything  # the units: so the buffers were really looked into
    assert len(everything) < sum(len(data) for _, _, data in faces) / 4
    for _, _, data in faces:
        assert data[200:232] not in everything

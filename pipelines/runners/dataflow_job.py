"""A Dataflow job from its submission to its end, seen from the command that started it."""

import logging
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.runner import PipelineState

from fiqa_core.scoring.progress import Progress, Tally
from fiqa_core.shards.plan import Plan
from pipelines.cli.errors import JobError
from pipelines.runners.dataflow import is_dry_run
from pipelines.runners.progress import ProgressMonitor
from transforms.score import COUNTERS, KEPT_COUNTERS, NOW_COUNTERS

_log = logging.getLogger(__name__)
_ASK_EVERY_S = 20.0


class JobGoesOn(KeyboardInterrupt):
    """The command was interrupted; the job was not."""


def run_job(pipeline: beam.Pipeline, options: PipelineOptions, plan: Plan, wait: bool) -> bool:
    """Submit the job and wait for its end. Returns whether it ran to its end (and its account can be closed).

    Interrupting the command leaves the job running: it is the cloud's, not this process's.

    Raises:
        JobError: not accepted, failed or cancelled. JobGoesOn: interrupted while waiting.
    """
    google: Any = options.view_as(GoogleCloudOptions)
    try:
        result = pipeline.run()
    except Exception as error:
        ours = type(error).__module__.partition(".")[0] not in ("google", "apache_beam")
        if ours and not isinstance(error, OSError):
            raise
        raise JobError(f"the job was not accepted: {_in_one_line(error)}. {_advice(error)}") from error
    if is_dry_run(options):
        _log.info("dry run: the job was translated; nothing was submitted and nothing was written to --output")
        return False
    if google.template_location:
        _log.info("template: %s. Nothing runs until a job is started from it", google.template_location)
        return False
    job = _Job(result, google)
    _log.info("job %s submitted; watch it: %s", job.id, job.url)
    if not wait:
        _log.info(
            "not waiting. When the job has ended, the same command with --resume (and without --no-wait) does what is "
            "left and closes the account. To stop the job: %s",
            job.cancel_command,
        )
        return False
    job.wait(plan)
    return True


class _Job:
    def __init__(self, result: Any, google: Any) -> None:
        self._result = result
        self.id = result.job_id()
        where = f"{google.region}/{self.id}?project={google.project}"
        self.url = f"https://console.cloud.google.com/dataflow/jobs/{where}"
        self.cancel_command = (
            f"gcloud dataflow jobs cancel {self.id} --region={google.region} --project={google.project}"
        )

    def wait(self, plan: Plan) -> None:
        # The runner's own lines: states of the job and the service's messages about it.
        logging.getLogger("apache_beam.runners.dataflow.dataflow_runner").setLevel(logging.INFO)
        from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException

        try:
            with ProgressMonitor(self.progress, plan, _ASK_EVERY_S):
                state = self._result.wait_until_finish()
        except KeyboardInterrupt as error:
            raise JobGoesOn(
                f"interrupted; job {self.id} goes on in the cloud (and is paid for): {self.url}\n"
                f"To stop it: {self.cancel_command}\n"
                "Once it has ended, the same command with --resume keeps what it did and does the rest."
            ) from error
        except DataflowRuntimeException as error:
            raise JobError(f"job {self.id} did not end well: {error}\nIts messages: {self.url}") from error
        except Exception as error:
            raise JobError(
                f"contact with job {self.id} was lost ({_in_one_line(error)}); it may still run: {self.url}\n"
                "Look there before you run the command again."
            ) from error
        if state != PipelineState.DONE:
            raise JobError(f"job {self.id} ended in state {state}. Its messages: {self.url}")

    def progress(self) -> Progress:
        """The workers' counters as the service reports them (about once a minute)."""
        # Beam's own query fails on a counter that has a tentative value and no committed one yet.
        answer = self._result.metrics()._dataflow_client.get_job_metrics(self.id)
        counts: dict[tuple[str, str], int] = {}
        for metric in answer.metrics:
            name, context = metric.name, dict(metric.name.context)
            if name.origin == "user" and context.get("namespace") == COUNTERS:
                place = (name.name, context.get("step", ""))
                counts[place] = max(counts.get(place, 0), int(metric.scalar or 0))
        now, kept = (
            Tally(*(sum(n for (name, _), n in counts.items() if name == wanted) for wanted in names))
            for names in (NOW_COUNTERS, KEPT_COUNTERS)
        )
        return Progress(now, kept)


def _advice(error: BaseException) -> str:
    text = str(error).lower()
    if "credential" in text or "401" in text or "unauthenticated" in text:
        return "Sign in: gcloud auth application-default login."
    if "403" in text or "permission" in text or "forbidden" in text:
        return "Your account lacks a role on the project or the bucket: docs/dataflow.md, Permissions."
    if "already active job" in text:
        return "Give this one another --job_name, or wait for the other."
    return "docs/dataflow.md lists causes and remedies."


def _in_one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:600]

"""A1111's generating routes: txt2img, progress, interrupt, skip.

A call becomes a durable job like any other; the HTTP request only waits for it. Whoever hangs up finds the job and its
pictures under `/api/v1/jobs`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Header
from starlette.requests import Request
from starlette.responses import Response

from sdwebui.api.a1111_info import generation_answer, timestamp
from sdwebui.api.a1111_schemas import Txt2ImgBody
from sdwebui.api.identity import caller
from sdwebui.api.jobs import checked_key
from sdwebui.api.requests_from_api import RequestReader
from sdwebui.api.threads import Threads
from sdwebui.api.watching import JobWatch
from sdwebui.domain.errors import JobCancelled, SdWebuiError, error_from_json
from sdwebui.domain.requests import ResolvedRequest
from sdwebui.domain.results import JobProgress, JobRecord, JobState
from sdwebui.ports import Account
from sdwebui.service.generation import GenerationService
from sdwebui.service.options import OptionsService

STARTED = 0.01
"""A1111 shows at least so much progress as long as a job is there; clients wait for 0."""


class GenerateRoutes:
    """Routes that make pictures and say how far they are.

    Args:
        generation: takes and cancels jobs.
        options: takes overrides that are to last.
        reader: makes a request of a body.
        watch: waits for jobs.
        threads: where blocking calls run.
    """

    def __init__(
        self,
        generation: GenerationService,
        options: OptionsService,
        reader: RequestReader,
        watch: JobWatch,
        threads: Threads,
    ) -> None:
        self._generation = generation
        self._options = options
        self._reader = reader
        self._watch = watch
        self._threads = threads

    def add_to(self, app: FastAPI) -> None:
        """Register the routes."""
        tags: list[Any] = ["A1111: generate"]
        app.add_api_route("/sdapi/v1/txt2img", self.txt2img, methods=["POST"], tags=tags)
        app.add_api_route("/sdapi/v1/progress", self.progress, methods=["GET"], tags=tags)
        app.add_api_route("/sdapi/v1/interrupt", self.interrupt, methods=["POST"], tags=tags)
        app.add_api_route("/sdapi/v1/skip", self.skip, methods=["POST"], tags=tags)

    async def txt2img(
        self, request: Request, body: Txt2ImgBody, idempotency_key: Annotated[str, Header()] = ""
    ) -> Response:
        """Make pictures from text and answer when they are done. `info` is a JSON string, `images` bare base64."""
        account = caller(request)
        job = await self._threads.quick(self._submit, body, account, checked_key(idempotency_key))
        job = await self._watch.final(job.id, viewer=account)
        return Response(await self._threads.quick(self._answer, body, job, account), media_type="application/json")

    def progress(self, request: Request, skip_current_image: bool = False) -> dict[str, Any]:
        """How far the caller's oldest unfinished job is; progress 0 and job_count 0 when there is none."""
        active = self._active(caller(request))
        if not active:
            return progress_facts(None, JobProgress(job_id=""), waiting=0, with_image=False)
        job = next((one for one in active if one.state is JobState.RUNNING), active[0])
        progress = self._generation.progress(job.id)
        return progress_facts(job, progress, waiting=len(active), with_image=not skip_current_image)

    def interrupt(self, request: Request) -> dict[str, Any]:
        """Stop the caller's running jobs; finished pictures stay. Other people's jobs go on."""
        account = caller(request)
        for job in self._running(account):
            self._generation.cancel(job.id, viewer=account)
        return {}

    def skip(self, request: Request) -> None:
        """Give up the pictures in work of the caller's running jobs; their other pictures are made."""
        account = caller(request)
        for job in self._running(account):
            self._generation.skip(job.id, viewer=account)

    def _submit(self, body: Txt2ImgBody, account: Account, idempotency_key: str) -> JobRecord:
        given = self._reader.txt2img(body, account)
        with self._reader.api_words():
            job = self._generation.submit(given, owner=account.username, idempotency_key=idempotency_key)
        lasting = self._reader.lasting(body)
        if lasting:
            self._options.set(account.username, lasting)
        return job

    def _answer(self, body: Txt2ImgBody, job: JobRecord, account: Account) -> str:
        _raise_if_nothing_came(job)
        wanted = job.images if body.send_images else ()
        files = [self._generation.image(image.id, viewer=account)[1] for image in wanted]
        return json.dumps(generation_answer(body, job, files), allow_nan=False)

    def _active(self, account: Account) -> Sequence[JobRecord]:
        """The caller's unfinished jobs, oldest first."""
        jobs = self._generation.jobs(viewer=account, limit=500, active_only=True)
        return sorted(jobs, key=lambda job: job.created_at)

    def _running(self, account: Account) -> Sequence[JobRecord]:
        return [job for job in self._active(account) if job.state is JobState.RUNNING]


def progress_facts(job: JobRecord | None, progress: JobProgress, *, waiting: int, with_image: bool) -> dict[str, Any]:
    """A1111's progress object for one job, or for none.

    Args:
        job: the job, or None when the caller has nothing running or queued.
        progress: where it is.
        waiting: number of the caller's unfinished jobs.
        with_image: whether the newest preview is wanted.
    """
    request = ResolvedRequest.from_json(job.request) if job else None
    batches = request.batch_count if request else 0
    batch = progress.image_index // request.batch_size if request else 0
    is_queued = job is not None and job.state is JobState.QUEUED
    started = timestamp(job.created_at) if job else "0"
    preview = base64.b64encode(progress.preview).decode("ascii") if progress.preview and with_image else None
    return {
        "progress": max(STARTED, progress.progress) if job else 0.0,
        "eta_relative": progress.eta_s,
        "state": {
            "skipped": False,
            "interrupted": False,
            "stopping_generation": False,
            "job": f"Batch {batch + 1} out of {batches}" if job else "",
            "job_count": batches,
            "job_timestamp": started,
            "job_no": batch,
            "sampling_step": progress.step,
            "sampling_steps": progress.steps or (request.steps if request else 0),
        },
        "current_image": preview,
        "textinfo": f"In queue: {progress.position + 1} ({waiting} of your jobs unfinished)" if is_queued else None,
    }


def _raise_if_nothing_came(job: JobRecord) -> None:
    """A failed job is its error; an interrupted one is what it finished, and an error when that is nothing."""
    if job.state is JobState.FAILED:
        raise error_from_json(job.error) if job.error else SdWebuiError("The job failed without saying why.")
    if job.state is JobState.CANCELLED and not job.images:
        raise JobCancelled("The job was interrupted before its first picture was done. Send it again if you want it.")

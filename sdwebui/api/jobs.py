"""The durable job API, `/api/v1`: hand a job in, look at it, follow it, cancel it, fetch its pictures.

A job is on disk when POST answers; whoever has its id may go away and come back. To offer another kind of job: its name
in `KINDS` and its body in `JobOrder`. Bodies are strict here (`strict_bodies.py`), unlike those of `/sdapi`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from sdwebui.api.a1111_schemas import Txt2ImgBody
from sdwebui.api.identity import caller
from sdwebui.api.requests_from_api import RequestReader
from sdwebui.api.strict_bodies import StrictBody
from sdwebui.api.threads import Threads
from sdwebui.api.watching import JobWatch, Sight
from sdwebui.domain.errors import InvalidRequest, NotFound
from sdwebui.domain.requests import ResolvedRequest
from sdwebui.domain.results import JobProgress, JobRecord, JobState
from sdwebui.service.generation import GenerationService

KINDS = ("txt2img",)
MAX_KEY_CHARACTERS = 200
MAX_LISTED = 500
SHOWN_PROMPT_CHARACTERS = 300
"""The beginning of the prompt that lists show; the whole one is in each picture's infotext."""
_END = "-end"


class Txt2ImgOrder(Txt2ImgBody, StrictBody):
    """A1111's fields without A1111's patience: a misspelt field or a number as text is refused."""


class JobOrder(StrictBody):
    """What POST /api/v1/jobs takes."""

    kind: str = Field(description="Kind of job: " + ", ".join(KINDS))
    request: Txt2ImgOrder = Field(description="The same fields as in /sdapi/v1/txt2img")


class JobRoutes:
    """Routes of the job API.

    Args:
        generation: takes, lists and cancels jobs.
        reader: makes a request of an API body.
        watch: follows jobs.
        threads: where blocking calls run.
    """

    def __init__(self, generation: GenerationService, reader: RequestReader, watch: JobWatch, threads: Threads) -> None:
        self._generation = generation
        self._reader = reader
        self._watch = watch
        self._threads = threads

    def add_to(self, app: FastAPI) -> None:
        """Register the routes."""
        tags: list[Any] = ["jobs"]
        app.add_api_route("/api/v1/jobs", self.submit, methods=["POST"], status_code=202, tags=tags)
        app.add_api_route("/api/v1/jobs", self.listing, methods=["GET"], tags=tags)
        app.add_api_route("/api/v1/jobs", self.cancel_all, methods=["DELETE"], tags=tags)
        app.add_api_route("/api/v1/jobs/{job_id}", self.show, methods=["GET"], tags=tags)
        app.add_api_route("/api/v1/jobs/{job_id}", self.cancel, methods=["DELETE"], tags=tags)
        app.add_api_route("/api/v1/jobs/{job_id}/events", self.events, methods=["GET"], tags=tags)
        app.add_api_route("/api/v1/jobs/{job_id}/preview", self.preview, methods=["GET"], tags=tags)
        app.add_api_route("/api/v1/images/{image_id}", self.image, methods=["GET"], tags=tags)

    def submit(self, request: Request, order: JobOrder, idempotency_key: Annotated[str, Header()] = "") -> JSONResponse:
        """Hand a job in. 202 with its id once it is on disk; a repeated Idempotency-Key gives the same job again."""
        if order.kind not in KINDS:
            raise InvalidRequest("kind", order.kind, f"must be one of {', '.join(KINDS)}")
        account = caller(request)
        given = self._reader.txt2img(order.request, account)
        key = checked_key(idempotency_key)
        with self._reader.api_words():
            job = self._generation.submit(given, owner=account.username, idempotency_key=key)
        location = {"Location": f"/api/v1/jobs/{job.id}"}
        return JSONResponse({"id": job.id, "state": job.state.value}, status_code=202, headers=location)

    def listing(
        self, request: Request, limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 50, active: bool = False
    ) -> list[dict[str, Any]]:
        """The caller's jobs, newest first; only queued and running ones with `active=true`."""
        jobs = self._generation.jobs(viewer=caller(request), limit=limit, active_only=active)
        return [self._facts(job) for job in jobs]

    def cancel_all(self, request: Request) -> list[dict[str, Any]]:
        """Cancel the caller's queued and running jobs; answers which."""
        account = caller(request)
        jobs = self._generation.jobs(viewer=account, limit=MAX_LISTED, active_only=True)
        for job in jobs:
            self._generation.cancel(job.id, viewer=account)
        return [self._facts(self._generation.job(job.id, viewer=account)) for job in jobs]

    def show(self, request: Request, job_id: str) -> dict[str, Any]:
        """One job of the caller."""
        return self._facts(self._generation.job(job_id, viewer=caller(request)))

    def cancel(self, request: Request, job_id: str) -> dict[str, Any]:
        """Cancel a job: at once while it waits, within a step while it runs. Finished pictures stay."""
        account = caller(request)
        self._generation.cancel(job_id, viewer=account)
        return self._facts(self._generation.job(job_id, viewer=account))

    async def events(self, request: Request, job_id: str, last_event_id: Annotated[str, Header()] = "") -> Response:
        """Server-sent events: the job as GET shows it, at every change (`progress`) and at its end (`end`).

        Every event carries the whole state, so that a viewer who comes back with Last-Event-ID is up to date after one
        event; one who has seen the end is told with 204 that nothing more will come.
        """
        account = caller(request)
        job = await self._threads.quick(self._generation.job, job_id, viewer=account)
        if job.state.is_final and last_event_id.endswith(_END):
            return Response(status_code=204)
        sights = self._watch.sights(job_id, viewer=account)
        headers = {"Cache-Control": "private, no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._stream(sights), media_type="text/event-stream", headers=headers)

    def preview(self, request: Request, job_id: str, number: int = 0) -> Response:
        """What a job looks like now: its newest preview, or its newest picture once there is no preview any more.

        `number` only tells one preview from the next, so that browsers fetch each once.
        """
        account = caller(request)
        job = self._generation.job(job_id, viewer=account)
        shown = self._generation.progress(job.id).preview
        if not shown and job.images:
            shown = self._generation.image(job.images[-1].id, viewer=account)[1]
        if not shown:
            raise NotFound("preview of job", job_id)
        headers = {"Cache-Control": "private, max-age=60", "ETag": f'"{number}"'}
        return Response(shown, media_type="image/png", headers=headers)

    def image(self, request: Request, image_id: str) -> Response:
        """A picture of one of the caller's jobs, as PNG with its settings inside."""
        record, png = self._generation.image(image_id, viewer=caller(request))
        headers = {
            "Cache-Control": "private, max-age=3600",
            "Content-Disposition": f'inline; filename="{record.index:03d}-{record.seed}.png"',
        }
        return Response(png, media_type="image/png", headers=headers)

    async def _stream(self, sights: AsyncGenerator[Sight]) -> AsyncIterator[str]:
        yield "retry: 2000\n\n"
        async with aclosing(sights):
            async for sight in sights:
                if sight.is_news or sight.job.state.is_final:
                    yield _event(sight, await self._threads.quick(self._facts, sight.job))
                else:
                    yield ": still there\n\n"

    def _facts(self, job: JobRecord) -> dict[str, Any]:
        progress = JobProgress(job_id=job.id) if job.state.is_final else self._generation.progress(job.id)
        return job_facts(job, progress)


def _event(sight: Sight, facts: Mapping[str, Any]) -> str:
    is_final = sight.job.state.is_final
    name, number = ("end", f"{sight.cursor}{_END}") if is_final else ("progress", str(sight.cursor))
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(facts)}\n\n"


def job_facts(job: JobRecord, progress: JobProgress) -> dict[str, Any]:
    """A job as the API shows it. The first ten keys are fixed (INTERFACES.md); the others are what the page shows."""
    request = ResolvedRequest.from_json(job.request)
    has_preview = bool(progress.preview) and job.state is JobState.RUNNING
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state.value,
        "progress": 1.0 if job.state is JobState.DONE else progress.progress,
        "position": progress.position,
        "eta_s": progress.eta_s,
        "attempt": job.attempt,
        "images": [
            {"id": image.id, "url": f"/api/v1/images/{image.id}", "seed": image.seed, "infotext": image.infotext}
            for image in job.images
        ],
        "warnings": list(job.warnings),
        "error": dict(job.error) if job.error else None,
        "created_at": job.created_at,
        "seconds": job.seconds,
        "prompt": request.prompt[:SHOWN_PROMPT_CHARACTERS],
        "image_count": request.image_count,
        "image_index": progress.image_index,
        "step": progress.step,
        "steps": progress.steps,
        "preview": f"/api/v1/jobs/{job.id}/preview?number={progress.preview_number}" if has_preview else None,
    }


def checked_key(key: str) -> str:
    """An `Idempotency-Key` that the job table can hold.

    Raises:
        InvalidRequest: too long or not printable ASCII.
    """
    if len(key) > MAX_KEY_CHARACTERS or not (key.isascii() and (key.isprintable() or not key)):
        rule = f"must have at most {MAX_KEY_CHARACTERS} printable ASCII characters"
        raise InvalidRequest("Idempotency-Key", key, rule, "A random UUID is a good one.")
    return key

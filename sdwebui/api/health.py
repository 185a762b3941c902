"""Is it alive, can it work, how much does it do: `/healthz`, `/readyz`, `/metrics`, `/internal/ping`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from sdwebui.api.metrics import HttpMetrics
from sdwebui.service.generation import GenerationService

READY = "ready"
_RETRY_S = 5


class HealthRoutes:
    """For supervisors, load balancers and Prometheus.

    Args:
        generation: knows the worker.
        metrics: the counters.
        job_counts: number of jobs by state name. Blocks shortly.
    """

    def __init__(
        self, generation: GenerationService, metrics: HttpMetrics, job_counts: Callable[[], Mapping[str, int]]
    ) -> None:
        self._generation = generation
        self._metrics = metrics
        self._job_counts = job_counts

    def add_to(self, app: FastAPI) -> None:
        """Register the routes."""
        for path, endpoint in (("/healthz", self.alive), ("/readyz", self.ready)):
            app.add_api_route(path, endpoint, methods=["GET"], tags=["health"])
            app.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
        app.add_api_route("/metrics", self.prometheus, methods=["GET"], tags=["health"])
        app.add_api_route("/internal/ping", self.ping, methods=["GET"], tags=["health"])

    async def alive(self) -> dict[str, str]:
        """The process answers. Needs no login and says nothing else."""
        return {"status": "ok"}

    def ready(self) -> JSONResponse:
        """200 when a worker takes jobs, 503 with Retry-After while it starts or after it died."""
        status = self._generation.status()
        facts: dict[str, Any] = {
            "status": status.state,
            "device": status.device,
            "precision": status.precision,
            "checkpoint": status.checkpoint,
            "accelerator": status.accelerator,
            "detail": status.detail,
        }
        if status.state == READY:
            return JSONResponse(facts)
        sentence = status.detail or f"The worker is {status.state}; jobs are accepted and wait."
        named = {"error": "Overloaded", "field": "", "errors": []}
        return JSONResponse(
            {**facts, **named, "detail": sentence}, status_code=503, headers={"Retry-After": str(_RETRY_S)}
        )

    def prometheus(self) -> Response:
        """Counters and gauges in Prometheus' text format."""
        is_ready = self._generation.status().state == READY
        text = self._metrics.render(self._job_counts(), is_ready=is_ready)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def ping(self) -> dict[str, str]:
        """A1111's ping: an empty object."""
        return {}

"""Counters and gauges in Prometheus' text format. To add one: a field here and the place that feeds it."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

_ROOMS = (
    ("/sdapi/", "sdapi"),
    ("/api/", "jobs"),
    ("/controlnet/", "controlnet"),
    ("/internal/", "internal"),
    ("/gradio_api/", "events"),
    ("/login", "login"),
)
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "websocket"})


class HttpMetrics:
    """What the guard counts and `/metrics` shows. One registry for each server, none for the process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sdwebui_http_requests",
            "HTTP answers by method, part of the server and status.",
            ("method", "part", "status"),
            registry=self._registry,
        )
        self._jobs = Gauge("sdwebui_jobs", "Jobs by state.", ("state",), registry=self._registry)
        self._queue = Gauge("sdwebui_queue_length", "Jobs that wait for a device.", registry=self._registry)
        self._ready = Gauge("sdwebui_worker_ready", "1 when a worker takes jobs.", registry=self._registry)

    def count(self, method: str, path: str, status: int) -> None:
        """Count one answer."""
        part = next((name for prefix, name in _ROOMS if path.startswith(prefix)), "page")
        self._requests.labels(method if method in _METHODS else "other", part, str(status)).inc()

    def render(self, jobs_by_state: Mapping[str, int], *, is_ready: bool) -> bytes:
        """The text that Prometheus reads."""
        for state, number in jobs_by_state.items():
            self._jobs.labels(state).set(number)
        self._queue.set(jobs_by_state.get("queued", 0))
        self._ready.set(1 if is_ready else 0)
        return generate_latest(self._registry)

"""The HTTP server put together: routes, the page, the guard around all. To add routes: a line in `_add_routes`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from sdwebui.api.a1111_generate import GenerateRoutes
from sdwebui.api.a1111_library import LibraryRoutes
from sdwebui.api.a1111_options import OptionsRoutes
from sdwebui.api.a1111_png_info import PngInfoRoutes
from sdwebui.api.docs_page import DOCS_CSS, docs_html
from sdwebui.api.errors import add_error_handlers
from sdwebui.api.gradio_gate import GradioGate
from sdwebui.api.guard import Guard
from sdwebui.api.health import HealthRoutes
from sdwebui.api.identity import Identity
from sdwebui.api.jobs import JobRoutes
from sdwebui.api.login import LoginRoutes
from sdwebui.api.metrics import HttpMetrics
from sdwebui.api.request_rules import RequestRules
from sdwebui.api.requests_from_api import RequestReader
from sdwebui.api.threads import Threads
from sdwebui.api.unknown_paths import UnknownPaths
from sdwebui.api.watching import JobWatch
from sdwebui.service.accounts import AccountService
from sdwebui.service.generation import GenerationService
from sdwebui.service.library import LibraryService
from sdwebui.service.options import OptionsService


@dataclass(frozen=True, kw_only=True)
class Services:
    """What the routes call.

    Attributes:
        generation: jobs and pictures.
        library: checkpoints, samplers, schedules.
        options: runtime options.
        accounts: log-in.
        job_counts: number of jobs by state name, for `/metrics`; blocks shortly.
    """

    generation: GenerationService
    library: LibraryService
    options: OptionsService
    accounts: AccountService
    job_counts: Callable[[], Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class ServerRules:
    """What a person who runs the server decides.

    Attributes:
        secret: key of the login form's tokens, 32 random bytes for each start.
        requests: hosts and sizes.
        upload_dirs: where Gradio keeps uploaded files.
        session_days: how long a browser keeps its login.
    """

    secret: bytes = field(repr=False)
    requests: RequestRules = field(default_factory=RequestRules)
    upload_dirs: tuple[Path, ...] = ()
    session_days: int = 30


def create_app(
    services: Services,
    rules: ServerRules,
    *,
    mount_page: Callable[[FastAPI], object] | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Guard:
    """The ASGI application to give to the server: everything, behind the guard.

    Args:
        services: what the routes call.
        rules: hosts, sizes, secrets.
        mount_page: puts the page under "/" of the application; called last, so that our routes win. None for no page.
        monotonic: seconds of a clock that never jumps.
    """
    threads, metrics = Threads(), HttpMetrics()
    app = FastAPI(title="sdwebui", docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_middleware(CORSMiddleware, allow_origins=[])  # makes Gradio leave CORS to us: no other origin is let in
    add_error_handlers(app)
    LoginRoutes(services.accounts, threads, secret=rules.secret, session_days=rules.session_days).add_to(app)
    _add_routes(app, services, threads, metrics)
    _add_docs(app)
    UnknownPaths(app.router.routes).add_to(app)
    if mount_page is not None:
        mount_page(app)
    return Guard(
        app,
        identity=Identity(services.accounts, threads),
        threads=threads,
        gate=GradioGate(rules.upload_dirs),
        rules=rules.requests,
        metrics=metrics,
        monotonic=monotonic,
    )


def _add_routes(app: FastAPI, services: Services, threads: Threads, metrics: HttpMetrics) -> None:
    watch = JobWatch(services.generation, threads)
    reader = RequestReader(services.options)
    HealthRoutes(services.generation, metrics, services.job_counts).add_to(app)
    JobRoutes(services.generation, reader, watch, threads).add_to(app)
    GenerateRoutes(services.generation, services.options, reader, watch, threads).add_to(app)
    LibraryRoutes(services.library).add_to(app)
    OptionsRoutes(services.options, services.library).add_to(app)
    PngInfoRoutes().add_to(app)


def _add_docs(app: FastAPI) -> None:
    async def docs(_: Request) -> Response:
        return HTMLResponse(docs_html(app.openapi()))

    async def docs_css(_: Request) -> Response:
        return Response(DOCS_CSS, media_type="text/css")

    app.add_route("/docs", docs, methods=["GET"], include_in_schema=False)
    app.add_route("/docs.css", docs_css, methods=["GET"], include_in_schema=False)

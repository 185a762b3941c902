"""A page that is built in a thread while the server already answers: log-in and API come first, the page follows.

Importing Gradio takes seconds. Until its page stands, requests for it wait here; everything else is served.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from sdwebui.domain.errors import SdWebuiError

logger = logging.getLogger(__name__)

BUILD_LIMIT_S = 120.0


class LatePage:
    """An ASGI application for everything that no earlier route has.

    Args:
        mount: puts the page under "/" of the application that it is given; slow, called once, in a thread.
    """

    def __init__(self, mount: Callable[[FastAPI], object]) -> None:
        self._mount = mount
        self._page: asyncio.Future[FastAPI] | None = None

    def add_to(self, app: FastAPI) -> None:
        """Take every path of `app` that no route before has; building begins when `app` starts."""
        app.router.lifespan_context = self._lifespan
        app.mount("/", self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand the request to the page, when it stands.

        Raises:
            SdWebuiError: the page could not be built, or the application has not been started.
        """
        if self._page is None:
            raise SdWebuiError("The page is not there: the server has not been started. Start it with `sdwebui serve`.")
        page = await asyncio.wait_for(asyncio.shield(self._page), BUILD_LIMIT_S)
        await page(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _app: Any) -> AsyncIterator[None]:
        self._page = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        living = asyncio.create_task(self._live(self._page, stop))
        try:
            yield
        finally:
            stop.set()
            await living

    async def _live(self, page: asyncio.Future[FastAPI], stop: asyncio.Event) -> None:
        """Build the page, then keep its own start-up and shut-down around it; in one task, as those demand."""
        try:
            app = await asyncio.to_thread(self._built)
        except Exception as error:
            logger.exception("The page could not be built; the API goes on without it.")
            reason = f"The page could not be built ({type(error).__name__}). The server's log says more."
            page.set_exception(error if isinstance(error, SdWebuiError) else SdWebuiError(reason))
            page.exception()  # asked for once, so that asyncio does not report it as forgotten
            return
        async with app.router.lifespan_context(app):
            page.set_result(app)
            await stop.wait()

    def _built(self) -> FastAPI:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
        app.add_middleware(CORSMiddleware, allow_origins=[])  # makes Gradio leave CORS to us: no other origin is let in
        self._mount(app)
        return app

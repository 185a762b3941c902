"""The life of `sdwebui serve`: take the port, open the stores, start the worker, build the page, serve, stop."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from sdwebui.bootstrap import build_generation, build_server, open_stores
from sdwebui.domain.errors import ConfigurationError
from sdwebui.domain.settings import Settings
from sdwebui.service.accounts import AccountService

logger = logging.getLogger(__name__)

DRAIN_S = 20.0
"""How long a stopping server waits for running jobs; what is not done by then runs again at the next start."""
OPEN_CONNECTIONS_S = 3


def serve(settings: Settings, announce: Callable[[str], None]) -> int:
    """Serve until a signal says stop; the process's exit status.

    Args:
        settings: start-up settings with absolute folders.
        announce: shows a line to the person who started the server.

    Raises:
        ConfigurationError: port in use, folders not writable, database damaged.
    """
    listener = _take_port(settings.host, settings.port)
    with _sole_owner(settings.data_dir):
        return _serve_on(listener, settings, announce)


def _serve_on(listener: socket.socket, settings: Settings, announce: Callable[[str], None]) -> int:
    stores = open_stores(settings)
    _announce_first_login(stores.accounts, settings, announce)
    generation = build_generation(settings, stores)
    _name_extensions(settings.extensions_dir)
    _enter_empty_folder(settings)
    generation.start()
    try:
        server = build_server(settings, stores, generation)
        announce(f"sdwebui serves {_address(settings.host, listener)}")
        config = uvicorn.Config(
            server.app,
            log_config=None,
            server_header=False,
            proxy_headers=False,  # anybody on this machine could forge the address that log-in throttling counts
            timeout_graceful_shutdown=OPEN_CONNECTIONS_S,
            access_log=False,
        )
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        generation.close(DRAIN_S)
        stores.database.close()
    return 0


@contextmanager
def _sole_owner(data_dir: Path) -> Iterator[None]:
    """Hold the data folder: a second server on it would take the first one's running jobs for lost ones.

    Raises:
        ConfigurationError: another server holds it, or the folder cannot be written.
    """
    path = data_dir / "server.lock"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as exc:
        raise ConfigurationError(
            f"The data folder {str(data_dir)!r} cannot be written: {exc.strerror}. Give another --data-dir."
        ) from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            hint = "Stop it, or give this one another --data-dir."
            raise ConfigurationError(f"Another server uses the data folder {str(data_dir)!r}. {hint}") from exc
        yield


def _take_port(host: str, port: int) -> socket.socket:
    """A bound socket, taken before anything slow begins.

    Raises:
        ConfigurationError: in use, not allowed, or no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as exc:
        hint = "Choose another with --port, or stop the program that uses it."
        raise ConfigurationError(f"Port {port} on {host} cannot be used: {exc}. {hint}") from exc


def _announce_first_login(accounts: AccountService, settings: Settings, announce: Callable[[str], None]) -> None:
    login = accounts.ensure_first_administrator(settings.username, settings.password.value)
    if login is not None:
        announce(f"First login (shown once): user name {login.username}, password {login.password}")


def _name_extensions(folder: Path) -> None:
    """Say that extensions found are not loaded, rather than leave their owner to wonder."""
    names = sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    if names:
        logger.warning("This version loads no extensions; not loaded from %s: %s", folder, ", ".join(names))


def _enter_empty_folder(settings: Settings) -> None:
    """Work where nothing is: libraries that serve files from the working folder then find none."""
    folder = settings.data_dir / "empty"
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)


def _address(host: str, listener: socket.socket) -> str:
    port = listener.getsockname()[1]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104  # only compared
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"

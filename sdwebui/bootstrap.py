"""Who is who: the only code that names concrete classes. To swap a part: change the one line here that makes it.

Nothing here imports torch or gradio until something is built that needs it, so that `sdwebui --help` is instant.
"""

from __future__ import annotations

import gc
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sdwebui import __version__
from sdwebui.domain.chunks import count_tokens
from sdwebui.domain.errors import ConfigurationError, ModelUnusable
from sdwebui.domain.settings import Settings
from sdwebui.domain.tokenizer import ClipTokenizer
from sdwebui.engine.checkpoints import read_facts
from sdwebui.engine.safetensors_header import read_header
from sdwebui.ports import Accelerator, Engine
from sdwebui.runners.local import LocalRunner, WorkerHabits
from sdwebui.service.accounts import AccountService
from sdwebui.service.dispatch import Dispatcher
from sdwebui.service.generation import Admission, GenerationService
from sdwebui.service.library import LibraryService
from sdwebui.service.options import OptionsService
from sdwebui.service.passwords import Passwords
from sdwebui.service.recording import PictureRecorder
from sdwebui.service.resolve import Resolver
from sdwebui.storage.accounts import SqlAccountStore
from sdwebui.storage.database import Database
from sdwebui.storage.hash_cache import HashCache
from sdwebui.storage.image_files import ImageFiles
from sdwebui.storage.jobs import SqlJobStore
from sdwebui.storage.migrations import upgrade
from sdwebui.storage.model_catalog import FolderCatalog, HeaderFacts
from sdwebui.storage.options import SqlOptionStore

ROOT = Path(__file__).resolve().parent.parent
VOCABULARY = ROOT / "configs" / "tokenizers" / "clip" / "bpe_simple_vocab_16e6.txt.gz"
ACCELERATOR_NAMES = ("eager", "fused")
"""Names of `accelerators()`, for the web process, which must not import torch; a test holds the two together."""
WORKER_COMMAND = (sys.executable, "-m", "sdwebui", "worker")


# ------------------------------------------------------------------------------------------------- the worker side


def accelerators() -> Mapping[str, Callable[[], Accelerator]]:
    """UNet backends by name. A row here, and the contract suite takes a new one in."""
    from sdwebui.accelerators.eager import EagerAccelerator
    from sdwebui.accelerators.fused.backend import FusedAccelerator

    return {"eager": EagerAccelerator, "fused": FusedAccelerator}


def build_engine(device: str, *, precision: str = "auto", jobs_at_once: int = 4) -> Engine:
    """The engine of one device; imports torch, so it takes seconds.

    Args:
        device: "auto", "cpu", "cuda:N".
        precision: "auto", "float32", "bfloat16" or "float16".
        jobs_at_once: jobs whose steps may share a batch.

    Raises:
        ConfigurationError: no such device, or the vocabulary file is damaged.
    """
    from sdwebui.engine.devices import choose_device
    from sdwebui.engine.engine import Engine as DeviceEngine

    backends = [make() for make in accelerators().values()]
    tokenizer = ClipTokenizer(VOCABULARY)
    return DeviceEngine(choose_device(device, precision), backends, tokenizer, max_rows=4 * jobs_at_once)


def run_worker(descriptor: int, settings: Mapping[str, Any]) -> int:
    """The life of a worker process, until its connection closes; its exit status."""
    from sdwebui.runners.worker import run_worker as live

    make_engine = partial(build_engine, settings["device"], jobs_at_once=settings["jobs_at_once"])
    return live(descriptor, make_engine)


# ---------------------------------------------------------------------------------------------------- model files


def inspect_model(kind: str, path: Path) -> HeaderFacts:
    """What a look into a model file's header tells; reads no weights and runs no code of the file."""
    try:
        if kind == "checkpoint":
            facts = read_facts(path)
            return HeaderFacts(family=facts.family, native_size_px=facts.native_size_px)
        if path.suffix == ".safetensors":
            read_header(path)
    except ModelUnusable as error:
        return HeaderFacts(problem=error.detail)
    return HeaderFacts()


def build_catalog(settings: Settings, database: Database | None = None) -> FolderCatalog:
    """The model catalogue; with a database it remembers hashes."""
    hashes = HashCache(database) if database else None
    return FolderCatalog(settings.models_dir.absolute(), inspect_model, hashes)


def build_resolver(catalog: FolderCatalog, settings: Settings) -> Resolver:
    """Completes requests; random seeds are 32 bits, as in A1111.

    Raises:
        ConfigurationError: the setting `accelerator` names no backend.
    """
    wanted = "eager" if settings.safe_mode else settings.accelerator
    if wanted and wanted not in ACCELERATOR_NAMES:
        known = ", ".join(ACCELERATOR_NAMES)
        raise ConfigurationError(f"Setting accelerator is {wanted!r}, but it must be one of {known}, or empty.")
    return Resolver(catalog, partial(secrets.randbelow, 2**32), wanted)


# ------------------------------------------------------------------------------------------------ the control plane


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Everything on disk."""

    database: Database
    jobs: SqlJobStore
    accounts: AccountService
    options: OptionsService
    catalog: FolderCatalog


@dataclass(frozen=True, kw_only=True)
class Server:
    """What `serve` runs: start `generation`, give `app` to an ASGI server, close `generation`, then the database."""

    app: Any
    generation: GenerationService
    stores: Stores


def open_stores(settings: Settings) -> Stores:
    """Open the database, bringing its tables to this version, and everything that lives in it.

    Raises:
        ConfigurationError: the data folder cannot be written, or the database is damaged.
    """
    upgrade(settings.database_url)
    database = Database(settings.database_url)
    account_store = SqlAccountStore(database, session_idle_s=settings.session_idle_days * 86400)
    catalog = build_catalog(settings, database)
    return Stores(
        database=database,
        jobs=SqlJobStore(database),
        accounts=AccountService(account_store, Passwords(), session_absolute_s=settings.session_absolute_days * 86400),
        options=OptionsService(SqlOptionStore(database), catalog, account_store),
        catalog=catalog,
    )


def build_generation(settings: Settings, stores: Stores) -> GenerationService:
    """The job story with its worker; nothing runs before its `start`.

    Raises:
        ConfigurationError: the folder for pictures cannot be written.
    """
    images = ImageFiles(settings.data_dir / "outputs")
    images.remove_partial_files()
    new_id = partial(secrets.token_urlsafe, 12)
    worker = {"device": settings.device, "jobs_at_once": settings.jobs_at_once, "log_level": settings.log_level}
    recorder = PictureRecorder(
        jobs=stores.jobs, images=images, catalog=stores.catalog, new_id=new_id, version=__version__
    )
    return GenerationService(
        jobs=stores.jobs,
        images=images,
        resolver=build_resolver(stores.catalog, settings),
        options=stores.options,
        dispatcher=Dispatcher(
            jobs=stores.jobs,
            runner=LocalRunner(WORKER_COMMAND, worker, WorkerHabits(slots=settings.jobs_at_once)),
            recorder=recorder,
        ),
        new_id=new_id,
        admission=Admission(queue_limit=settings.queue_limit, disk_low_water_bytes=settings.disk_low_water_mb * 2**20),
    )


def build_server(settings: Settings, stores: Stores, generation: GenerationService) -> Server:
    """Routes around the services, and the page, which is built while the server already answers."""
    from sdwebui.api.late_page import LatePage
    from sdwebui.api.request_rules import HostRule, RequestRules
    from sdwebui.api.server import ServerRules, Services, create_app

    library = LibraryService(stores.catalog, stores.options)
    app = create_app(
        Services(
            generation=generation,
            library=library,
            options=stores.options,
            accounts=stores.accounts,
            job_counts=stores.jobs.counts,
        ),
        ServerRules(
            secret=secrets.token_bytes(32),
            requests=RequestRules(hosts=HostRule.for_binding(settings.host, _names(settings.allowed_hosts))),
            upload_dirs=(settings.data_dir / "uploads",),
            session_days=max(1, round(settings.session_absolute_days)),
        ),
        mount_page=LatePage(partial(_mount_page, settings, stores, generation, library)).add_to,
    )
    return Server(app=app, generation=generation, stores=stores)


def _mount_page(
    settings: Settings, stores: Stores, generation: GenerationService, library: LibraryService, app: Any
) -> None:
    """Build the Gradio page and put it under "/" of `app`; imports gradio, so it takes seconds."""
    with collector_paused():
        from sdwebui.ui.mount import mount_page
        from sdwebui.ui.page import build_page
        from sdwebui.ui.services import PageServices

        services = PageServices(
            generation=generation,
            library=library,
            options=stores.options,
            count_tokens=partial(count_tokens, tokenizer=ClipTokenizer(VOCABULARY)),
        )
        mount_page(app, build_page(services), state_dirs=[settings.data_dir])


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection while Gradio is imported: all of it stays, and looking at it again and again costs 10 %."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _names(joined: str) -> list[str]:
    return [name.strip().lower() for name in joined.split(",") if name.strip()]

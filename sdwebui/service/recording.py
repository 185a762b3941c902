"""From pixels to a stored picture: infotext, PNG, file, row. The file is safely on disk before its row is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sdwebui import __version__
from sdwebui.domain.errors import SdWebuiError
from sdwebui.domain.image_metadata import encode_png
from sdwebui.domain.infotext import infotext_params, render_infotext
from sdwebui.domain.requests import CheckpointRef, ResolvedRequest
from sdwebui.domain.results import ImageDone, ImageRecord, JobRecord, ModelFile
from sdwebui.ports import ImageStore, JobStore, ModelCatalog

logger = logging.getLogger(__name__)


class PictureRecorder:
    """Stores the pictures of running jobs. Thread-safe.

    Args:
        jobs: the job table.
        images: picture files.
        catalog: says the hash of a checkpoint, for the infotext.
        new_id: a fresh opaque id, hard to guess.
        version: this program's, for the infotext.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        images: ImageStore,
        catalog: ModelCatalog,
        new_id: Callable[[], str],
        version: str = __version__,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = jobs
        self._images = images
        self._catalog = catalog
        self._new_id = new_id
        self._version = version
        self._clock = clock

    def record(self, job: JobRecord, request: ResolvedRequest, event: ImageDone) -> ImageRecord:
        """Store one finished picture. One that an earlier attempt of the job stored is given back as it is.

        Raises:
            StorageFull: no room; nothing is left behind.
        """
        for known in job.images:
            if known.index == event.image_index:
                return known
        infotext = self._infotext(request, event)
        png = encode_png(event.rgb, event.width_px, event.height_px, infotext)
        now = self._clock()
        path = self._images.save(png, kind=job.kind, seed=event.seed, created_at=now, in_gallery=request.save_images)
        image = ImageRecord(
            id=self._new_id(),
            job_id=job.id,
            index=event.image_index,
            seed=event.seed,
            width_px=event.width_px,
            height_px=event.height_px,
            infotext=infotext,
            path=path,
            created_at=now,
        )
        self._jobs.add_image(image)
        return image

    def _infotext(self, request: ResolvedRequest, event: ImageDone) -> str:
        params = infotext_params(
            request,
            image_index=event.image_index,
            model_hash=self._checkpoint_hash(request.checkpoint)[:10],
            facts=event.facts,
            version=self._version,
        )
        return render_infotext(request.prompt, request.negative_prompt, params)

    def _checkpoint_hash(self, checkpoint: CheckpointRef) -> str:
        """Full hash of the checkpoint; empty, with a word in the log, when the file has changed or gone since."""
        file = ModelFile(
            kind="checkpoint",
            name=checkpoint.name,
            path=checkpoint.path,
            size_bytes=checkpoint.size_bytes,
            mtime_ns=checkpoint.mtime_ns,
            family=checkpoint.family,
        )
        try:
            return self._catalog.sha256(file)
        except SdWebuiError as error:
            logger.warning("A picture's infotext gets no model hash: %s", error.detail)
            return ""

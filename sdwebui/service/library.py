"""What there is to choose from: checkpoints, samplers, schedules. To offer another kind of file: add a method."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sdwebui.domain.catalog import SAMPLERS, SCHEDULES, SamplerRow, ScheduleRow
from sdwebui.domain.errors import ModelUnusable, NotFound
from sdwebui.domain.results import ModelFile
from sdwebui.ports import ModelCatalog
from sdwebui.service.options import OptionsService
from sdwebui.service.resolve import first_usable, native_size_px

logger = logging.getLogger(__name__)


class LibraryService:
    """Model files and names, as the page and the API list them."""

    def __init__(self, catalog: ModelCatalog, options: OptionsService) -> None:
        self._catalog = catalog
        self._options = options

    def checkpoints(self, refresh: bool = False) -> Sequence[ModelFile]:
        """All checkpoints by name, unusable ones included (with their `problem`).

        Args:
            refresh: True to look at the folders again first.
        """
        if refresh:
            self._catalog.refresh()
        return self._catalog.models("checkpoint")

    def samplers(self) -> Sequence[SamplerRow]:
        """All samplers, in A1111's order."""
        return SAMPLERS

    def schedules(self) -> Sequence[ScheduleRow]:
        """All schedules, in A1111's order, "Automatic" first."""
        return SCHEDULES

    def current_checkpoint(self, username: str) -> ModelFile | None:
        """What the page shows as this person's checkpoint: the option's, else the first usable file by name.

        A chosen file that has gone is replaced here by the first usable one, for display only: a request that relies
        on the chosen one fails with its name. None when there is no usable checkpoint at all.
        """
        chosen = str(self._options.get(username)["sd_model_checkpoint"])
        if chosen:
            try:
                return self._catalog.find("checkpoint", chosen)
            except (NotFound, ModelUnusable) as error:
                logger.warning("The chosen checkpoint cannot be used, so another one is shown: %s", error.detail)
        return first_usable(self._catalog)

    def native_size(self, name: str) -> int:
        """The side in pixels that a checkpoint was trained at.

        Raises:
            NotFound: no such checkpoint.
            ModelUnusable: it cannot be used.
        """
        return native_size_px(self._catalog.find("checkpoint", name))

"""The "fused" backend: known modules run as fused layers over the same weights; anything else stays eager.

A plan never fails a picture: a module that is not recognised, or a fused call that raises, runs eagerly, is counted and
named once in the log. To add a module kind: a row in `_REWRITES`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from sdwebui.accelerators.fused.layers import NotRecognised
from sdwebui.accelerators.fused.unet import FusedUNet
from sdwebui.accelerators.fused.vae import FusedDecoder
from sdwebui.ports import Availability, Plan, PlanStats

logger = logging.getLogger(__name__)

_REWRITES: Mapping[str, Callable[[Any], Any]] = {"UNet2DConditionModel": FusedUNet, "AutoencoderKL": FusedDecoder}


class FusedAccelerator:
    """Structure rewrite in plain torch operations: exact up to the order of additions, no compiler, any size."""

    @property
    def name(self) -> str:
        """Name in settings and the infotext."""
        return "fused"

    def probe(self, device: str) -> Availability:
        """Usable on every device."""
        del device
        return Availability(usable=True)

    def prepare(self, module: Any, architecture_key: str) -> Plan:
        """Recognise the module's parts; takes milliseconds."""
        try:
            return FusedPlan(module, _rewritten(module))
        except NotRecognised as error:
            logger.warning("%s stays eager: %s", architecture_key[:40], error)
            return FusedPlan(module, None, str(error))


class FusedPlan:
    """A module with its fused form, or without one and the reason why.

    Args:
        module: a diffusers UNet or autoencoder.
        fused: computes the same; None: eager.
        reason: why there is no fused form.
    """

    def __init__(self, module: Any, fused: Any | None, reason: str = "") -> None:
        self._eager = module.decode if hasattr(module, "decode") else module
        self._fused = fused
        self._fallbacks: Counter[str] = Counter([reason] if reason else [])

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module: same arguments, same result. Text states must not be changed in place between calls."""
        if self._fused is not None and not kwargs:
            try:
                return self._fused(*args)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, TypeError, ValueError) as error:
                self._fall_back(error)
        return self._eager(*args, **kwargs, return_dict=False)[0]

    def weights_changed(self, names: Sequence[str]) -> None:
        """Refresh what was derived from the weights, in place."""
        if self._fused is not None and names:
            self._fused.refresh()

    def stats(self) -> PlanStats:
        """Coverage is all or nothing; fallbacks count eager calls by their reason."""
        return PlanStats(coverage_percent=100.0 if self._fused is not None else 0.0, fallbacks=dict(self._fallbacks))

    def close(self) -> None:
        """The module was never changed; what was derived is given back."""
        self._fused = None

    def _fall_back(self, error: Exception) -> None:
        reason = f"{type(error).__name__} in a fused layer"
        if reason not in self._fallbacks:
            logger.error("this call and later ones like it run eagerly", exc_info=error)
        self._fallbacks[reason] += 1


def _rewritten(module: Any) -> Any:
    name = type(module).__name__
    if name not in _REWRITES:
        raise NotRecognised(f"{name} is none of {', '.join(_REWRITES)}")
    return _REWRITES[name](module)

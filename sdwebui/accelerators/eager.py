"""The plain backend: the module as it is, with torch's scaled-dot-product attention. It lies under every other one.

To add a backend: a module like this one with a class for `ports.Accelerator`, and a row in `bootstrap.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sdwebui.ports import Availability, Plan, PlanStats


class EagerAccelerator:
    """Runs the module without any change. Tolerance: none, it is what the others are compared with."""

    @property
    def name(self) -> str:
        """Name in settings and the infotext."""
        return "eager"

    def probe(self, device: str) -> Availability:
        """Usable on every device."""
        del device
        return Availability(usable=True)

    def prepare(self, module: Any, architecture_key: str) -> Plan:
        """Nothing to prepare."""
        del architecture_key
        return EagerPlan(module)


class EagerPlan:
    """A UNet or an autoencoder's decoder that is called as it is.

    Args:
        module: a module with diffusers' UNet signature, or one with `decode`.
    """

    def __init__(self, module: Any) -> None:
        self._call = module.decode if hasattr(module, "decode") else module

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """A UNet: (x [B, C, h, w], timestep [B], text states [B, n, C]) → [B, C, h, w]; a VAE: latents → pixels."""
        return self._call(*args, **kwargs, return_dict=False)[0]

    def weights_changed(self, names: Sequence[str]) -> None:
        """Nothing is derived from the weights."""
        del names

    def stats(self) -> PlanStats:
        """No part of the network is replaced: coverage 0 %."""
        return PlanStats(coverage_percent=0.0)

    def close(self) -> None:
        """Nothing was changed."""

"""The engine of one device: joins loop, weight store and accelerator behind `ports.Engine`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sdwebui.domain.chunks import TextTokenizer
from sdwebui.domain.requests import ResolvedRequest
from sdwebui.engine.conditioning import Conditioner
from sdwebui.engine.denoiser import Denoiser
from sdwebui.engine.devices import PRECISION_NAMES, Device, prepare_thread
from sdwebui.engine.executor import Executor
from sdwebui.engine.generate import tell
from sdwebui.engine.loop import Loop
from sdwebui.engine.weights import WeightStore
from sdwebui.ports import Accelerator, DeviceStatus, EventListener, PlanStats

DEFAULT_BUDGET_BYTES = 8 * 1024**3


class Engine:
    """Makes pictures on one device; `ports.Engine`. Thread-safe.

    Args:
        device: where it runs.
        accelerators: the backends that a request may name.
        tokenizer: makes CLIP token ids.
        budget_bytes: memory for weights of recently used checkpoints.
        max_rows: most rows of one UNet batch (a picture takes two with CFG).
        threads: CPU threads for tensor work; 0 for torch's choice.
    """

    def __init__(
        self,
        device: Device,
        accelerators: Sequence[Accelerator],
        tokenizer: TextTokenizer,
        *,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        max_rows: int = 16,
        threads: int = 0,
    ) -> None:
        self._device = device
        self._store = WeightStore(device, accelerators, budget_bytes)
        self._executor = Executor(device, self._store, Conditioner(tokenizer), Denoiser(max_rows))
        self._threads = threads
        self._loop = Loop(self._take_device, partial(tell, device=device))
        self._loop.start()

    def submit(self, job_id: str, request: ResolvedRequest, listener: EventListener) -> None:
        """Take a job up; returns at once. `listener` gets every event from the engine's thread, a final one last."""
        self._loop.submit(job_id, request, listener)

    def cancel(self, job_id: str) -> None:
        """Stop a job within one step; its finished pictures are kept. Unknown ids are ignored."""
        self._loop.cancel(job_id)

    def skip(self, job_id: str) -> None:
        """Give up the pictures of a job that are in work, within one step; its others go on."""
        self._loop.skip(job_id)

    def status(self) -> DeviceStatus:
        """What the device is doing; never blocks."""
        model = self._store.current
        stats = model.plan.stats() if model else None
        precision = model.precision if model else self._device.precisions[0]
        return DeviceStatus(
            state="ready" if self._loop.is_alive else "dead",
            device=self._device.name,
            precision=PRECISION_NAMES[precision],
            checkpoint=model.state.checkpoint.name if model else "",
            accelerator=model.accelerator if model else "",
            detail=_detail(stats) if stats else "",
        )

    def close(self) -> None:
        """Cancel everything, free the device, end the thread."""
        self._loop.close()

    def _take_device(self) -> Executor:
        prepare_thread(self._device, self._threads)
        return self._executor


def _detail(stats: PlanStats) -> str:
    reasons = "".join(f"; {reason} ({count})" for reason, count in (stats.fallbacks or {}).items())
    return f"{stats.coverage_percent:.0f} % of the UNet accelerated{reasons}"

"""Which device, which number formats, how many threads. To add a kind of device: a row in `_LADDERS`.

A precision ladder lists number formats from the fast one to the safe one: a stage that produces NaN or infinity is
repeated one step further down.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from sdwebui.domain.errors import ConfigurationError

logger = logging.getLogger(__name__)

PRECISION_NAMES: Mapping[torch.dtype, str] = {
    torch.float32: "float32",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device and the number formats that suit it.

    Attributes:
        name: "cpu", "cuda:0".
        precisions: the ladder, the preferred format first, float32 last.
    """

    name: str
    precisions: tuple[torch.dtype, ...]

    @property
    def torch_device(self) -> torch.device:
        """The device as torch knows it."""
        return torch.device(self.name)

    @property
    def memory_bytes(self) -> int:
        """Memory of an accelerator device; 0 for the CPU, whose budget is a setting."""
        if self.torch_device.type != "cuda":
            return 0
        return int(torch.cuda.get_device_properties(self.torch_device).total_memory)


def choose_device(wanted: str, precision: str = "auto") -> Device:
    """The device of this name, with its precision ladder.

    Args:
        wanted: "auto" (the first CUDA device, else the CPU), "cpu", "cuda" or "cuda:N".
        precision: "auto", or the first step of the ladder: "float32", "bfloat16", "float16".

    Raises:
        ConfigurationError: the device does not exist, or the precision is unknown.
    """
    name = _device_name(wanted)
    ladder = _LADDERS["cuda"] if name.startswith("cuda") else _cpu_ladder()
    if precision == "auto":
        return Device(name=name, precisions=ladder)
    names = {text: dtype for dtype, text in PRECISION_NAMES.items()}
    if precision not in names:
        raise ConfigurationError(f"precision is {precision!r}, but it must be auto, float32, bfloat16 or float16.")
    safer = _LADDERS["cuda"][_LADDERS["cuda"].index(names[precision]) :]
    return Device(name=name, precisions=safer)


def prepare_thread(device: Device, threads: int = 0) -> None:
    """Set up the calling thread, which owns the device: CPU threads, and no slow denormal numbers.

    Args:
        device: the device that the thread owns.
        threads: CPU threads for tensor work; 0 leaves torch's choice (the physical cores).
    """
    if threads:
        torch.set_num_threads(threads)
    if device.name == "cpu":
        torch.set_flush_denormal(True)
    logger.info("device %s, %s, %s CPU threads", device.name, device.precisions[0], torch.get_num_threads())


_LADDERS: Mapping[str, tuple[torch.dtype, ...]] = {
    "cuda": (torch.float16, torch.bfloat16, torch.float32),
    "cpu with bfloat16": (torch.bfloat16, torch.float32),
    "cpu": (torch.float32,),
}


def _device_name(wanted: str) -> str:
    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    kind, _, number = wanted.partition(":")
    if wanted == "cpu":
        return wanted
    if kind != "cuda" or (number and not number.isdecimal()):
        raise ConfigurationError(f"device is {wanted[:40]!r}, but it must be auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        raise ConfigurationError(f"device is {wanted!r}, but torch finds no CUDA device here. Use auto or cpu.")
    if int(number or 0) >= torch.cuda.device_count():
        raise ConfigurationError(f"device is {wanted!r}, but there are only {torch.cuda.device_count()} CUDA devices.")
    return f"cuda:{int(number or 0)}"


def _cpu_ladder() -> tuple[torch.dtype, ...]:
    """bfloat16 only where the processor multiplies it natively (AVX512-BF16, AMX): elsewhere it is emulated, slowly."""
    flags = torch.backends.cpu.get_cpu_capability()
    has_bfloat16 = "AVX512" in flags and torch.cpu._is_avx512_bf16_supported()
    return _LADDERS["cpu with bfloat16" if has_bfloat16 else "cpu"]

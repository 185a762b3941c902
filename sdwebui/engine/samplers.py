"""The samplers by their A1111 names. To add one: a generator function that cites its paper, and a row here.

Names, aliases and default schedules stand in `domain/catalog.py`. How to run one:

```python
levels = text_to_image_levels(LevelsRequest(sampler="Euler a", schedule="Uniform", steps=20), model_sigmas)
steps = start_sampler("Euler a", levels.start(noise.initial()), levels, noise, SamplerOptions())
request = next(steps)
while True:
    try:
        request = steps.send(denoise(request.x, request.sigma))
    except StopIteration as done:
        latents = done.value
        break
```
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from torch import Tensor

from sdwebui.domain.catalog import find_sampler
from sdwebui.engine.noise import ImageNoise
from sdwebui.engine.noise_levels import NoiseLevels
from sdwebui.engine.sampler_calls import (
    DenoiseAt,
    GuidedSamplerSteps,
    NoiseBetween,
    SamplerSteps,
    ancestral_split,
)
from sdwebui.engine.samplers_dpm_solver import dpm_adaptive, dpm_fast
from sdwebui.engine.samplers_multistep import dpmpp_2m, lms, plms, unipc
from sdwebui.engine.samplers_one_step import (
    dpm2,
    dpm2_ancestral,
    dpmpp_2s_ancestral,
    euler,
    euler_ancestral,
    heun,
    restart,
)
from sdwebui.engine.samplers_sde import dpmpp_2m_sde, dpmpp_2m_sde_heun, dpmpp_3m_sde, dpmpp_sde
from sdwebui.engine.samplers_timestep import ddim, ddim_cfgpp, lcm

__all__ = [
    "SAMPLER_FUNCTIONS",
    "SAMPLER_OPTIONS",
    "DenoiseAt",
    "GuidedSamplerSteps",
    "NoiseBetween",
    "SamplerFunction",
    "SamplerOptions",
    "SamplerSteps",
    "ancestral_split",
    "start_sampler",
]

SamplerFunction = Callable[..., Generator[DenoiseAt, Any, Tensor]]
"""(x, sigmas, noise, **options) → steps. It is sent a tensor, or a pair where the request has `needs_unconditional`."""


SAMPLER_FUNCTIONS: Mapping[str, SamplerFunction] = {
    "DPM++ 2M": dpmpp_2m,
    "DPM++ SDE": dpmpp_sde,
    "DPM++ 2M SDE": dpmpp_2m_sde,
    "DPM++ 2M SDE Heun": dpmpp_2m_sde_heun,
    "DPM++ 2S a": dpmpp_2s_ancestral,
    "DPM++ 3M SDE": dpmpp_3m_sde,
    "Euler a": euler_ancestral,
    "Euler": euler,
    "LMS": lms,
    "Heun": heun,
    "DPM2": dpm2,
    "DPM2 a": dpm2_ancestral,
    "DPM fast": dpm_fast,
    "DPM adaptive": dpm_adaptive,
    "Restart": restart,
    "DDIM": ddim,
    "DDIM CFG++": ddim_cfgpp,
    "PLMS": plms,
    "UniPC": unipc,
    "LCM": lcm,
}
"""One function for each row of `domain/catalog.SAMPLERS`; a test holds the two together."""


@dataclass(frozen=True, kw_only=True)
class SamplerOptions:
    """A1111's sampler parameters, with its defaults.

    Attributes:
        eta: eta of the ancestral and SDE samplers ("Eta").
        eta_ddim: eta of DDIM and DDIM CFG++ ("Eta DDIM").
        s_churn: "Sigma churn", noise added back by Euler, Heun and DPM2.
        s_tmin: "Sigma tmin", lowest churned noise level.
        s_tmax: "Sigma tmax", highest churned noise level; 0 means no limit, as in A1111.
        s_noise: "Sigma noise", factor on the fresh noise; Euler a, Restart and DDIM do not look at it in A1111.
        uni_pc_variant: "bh1" or "bh2".
        uni_pc_order: 1, 2 or 3.
        uni_pc_lower_order_final: True: the last steps of UniPC are of lower order.
    """

    eta: float = 1.0
    eta_ddim: float = 0.0
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = 0.0
    s_noise: float = 1.0
    uni_pc_variant: str = "bh1"
    uni_pc_order: int = 3
    uni_pc_lower_order_final: bool = True


_Options = Callable[[SamplerOptions, NoiseLevels], Mapping[str, Any]]


def _churn(options: SamplerOptions, _levels: NoiseLevels) -> Mapping[str, Any]:
    s_tmax = options.s_tmax or inf
    return {"s_churn": options.s_churn, "s_tmin": options.s_tmin, "s_tmax": s_tmax, "s_noise": options.s_noise}


def _eta_and_noise(options: SamplerOptions, _levels: NoiseLevels) -> Mapping[str, Any]:
    return {"eta": options.eta, "s_noise": options.s_noise}


def _eta_ddim(options: SamplerOptions, _levels: NoiseLevels) -> Mapping[str, Any]:
    return {"eta": options.eta_ddim}


def _unipc(options: SamplerOptions, levels: NoiseLevels) -> Mapping[str, Any]:
    return {
        "timesteps": levels.timesteps,
        "order": options.uni_pc_order,
        "variant": options.uni_pc_variant,
        "lower_order_final": options.uni_pc_lower_order_final,
    }


SAMPLER_OPTIONS: Mapping[str, _Options] = {
    "DPM++ SDE": _eta_and_noise,
    "DPM++ 2M SDE": _eta_and_noise,
    "DPM++ 2M SDE Heun": _eta_and_noise,
    "DPM++ 2S a": _eta_and_noise,
    "DPM++ 3M SDE": _eta_and_noise,
    "Euler a": lambda options, _levels: {"eta": options.eta},
    "Euler": _churn,
    "Heun": _churn,
    "DPM2": _churn,
    "DPM2 a": _eta_and_noise,
    "DPM fast": lambda options, levels: {**_eta_and_noise(options, levels), "calls": levels.calls},
    "DPM adaptive": lambda options, _levels: {"eta": options.eta},
    "DDIM": _eta_ddim,
    "DDIM CFG++": _eta_ddim,
    "UniPC": _unipc,
    "LCM": lambda _options, levels: {"timesteps": levels.timesteps},
}
"""Which options reach which sampler in A1111; a sampler without a row takes none."""


def start_sampler(
    name: str, x: Tensor, levels: NoiseLevels, noise: ImageNoise, options: SamplerOptions
) -> Generator[DenoiseAt, Any, Tensor]:
    """Make the generator that samples one picture.

    Args:
        name: canonical sampler name, a row of `SAMPLER_FUNCTIONS`.
        x: start latents [1, C, h, w] from `levels.start`, on the noise's device.
        levels: the noise levels, made for the same sampler.
        noise: the picture's noise source; SDE samplers draw from its Brownian motion.
        options: A1111's sampler parameters; those that the sampler does not know are left out.
    """
    row = find_sampler(name)
    is_brownian = "brownian_noise" in row.options
    between = noise.brownian(*levels.brownian_range) if is_brownian else noise.between
    chosen = SAMPLER_OPTIONS[name](options, levels) if name in SAMPLER_OPTIONS else {}
    return SAMPLER_FUNCTIONS[name](x, levels.sigmas, between, **chosen)

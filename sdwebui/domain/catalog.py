"""Names of samplers and schedules, as A1111 1.10.1 lists them. To add one: a row here and its function in `engine/`.

Plain data, so that the page, the API and the resolver need no torch. `engine/samplers.py` and `engine/schedules.py`
hold the functions; a test holds the tables together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sdwebui.domain.errors import NotFound

AUTOMATIC = "Automatic"
"""Label of the schedule that means "the sampler's default"."""


@dataclass(frozen=True, kw_only=True)
class SamplerRow:
    """One sampler.

    Attributes:
        name: the name that requests, infotexts and the page use ("DPM++ 2M").
        aliases: further names a request may use ("k_dpmpp_2m").
        options: A1111's option names with their values as text, as `/sdapi/v1/samplers` shows them. `scheduler` is the
            name of the default schedule, `second_order` means two model calls a step (prompt schedules count calls),
            `brownian_noise` noise from a Brownian tree, `uses_ensd` that "eta noise seed delta" applies,
            `discard_next_to_last_sigma` that n + 1 sigmas are asked for and the one before 0 is left out.
        default_schedule: label of the schedule that "Automatic" means. Samplers that make their own steps (DPM fast,
            DPM adaptive, DDIM, DDIM CFG++, PLMS, UniPC) ignore the schedule, as in A1111.
    """

    name: str
    aliases: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    default_schedule: str = "Uniform"

    @property
    def is_second_order(self) -> bool:
        """True when the denoiser is called twice a step: prompt schedules are then scaled to calls."""
        return "second_order" in self.options

    @property
    def uses_ensd(self) -> bool:
        """True when A1111's "eta noise seed delta" changes this sampler's noise."""
        return "uses_ensd" in self.options


@dataclass(frozen=True, kw_only=True)
class ScheduleRow:
    """One schedule: how the noise levels are spread over the steps.

    Attributes:
        name: A1111's short name ("karras").
        label: the name that requests, infotexts and the page use ("Karras").
        aliases: further names a request may use.
        default_rho: the schedule's own ρ, −1 where it has none (A1111's convention).
        need_inner_model: True when the sigmas come from the model's own table of 1000.
    """

    name: str
    label: str
    aliases: tuple[str, ...] = ()
    default_rho: float = -1.0
    need_inner_model: bool = False


_TRUE = "True"
_KARRAS = {"scheduler": "karras"}
_EXPONENTIAL = {"scheduler": "exponential"}
_BROWNIAN = {"brownian_noise": _TRUE}
_SECOND = {"second_order": _TRUE}
_ENSD = {"uses_ensd": _TRUE}
_DISCARD = {"discard_next_to_last_sigma": _TRUE}


SAMPLERS: tuple[SamplerRow, ...] = (
    SamplerRow(name="DPM++ 2M", aliases=("k_dpmpp_2m",), options=_KARRAS, default_schedule="Karras"),
    SamplerRow(
        name="DPM++ SDE",
        aliases=("k_dpmpp_sde",),
        options={**_KARRAS, **_SECOND, **_BROWNIAN},
        default_schedule="Karras",
    ),
    SamplerRow(
        name="DPM++ 2M SDE",
        aliases=("k_dpmpp_2m_sde",),
        options={**_EXPONENTIAL, **_BROWNIAN},
        default_schedule="Exponential",
    ),
    SamplerRow(
        name="DPM++ 2M SDE Heun",
        aliases=("k_dpmpp_2m_sde_heun",),
        options={**_EXPONENTIAL, **_BROWNIAN, "solver_type": "heun"},
        default_schedule="Exponential",
    ),
    SamplerRow(
        name="DPM++ 2S a",
        aliases=("k_dpmpp_2s_a",),
        options={**_KARRAS, **_ENSD, **_SECOND},
        default_schedule="Karras",
    ),
    SamplerRow(
        name="DPM++ 3M SDE",
        aliases=("k_dpmpp_3m_sde",),
        options={**_EXPONENTIAL, **_DISCARD, **_BROWNIAN},
        default_schedule="Exponential",
    ),
    SamplerRow(name="Euler a", aliases=("k_euler_a", "k_euler_ancestral"), options=_ENSD),
    SamplerRow(name="Euler", aliases=("k_euler",)),
    SamplerRow(name="LMS", aliases=("k_lms",)),
    SamplerRow(name="Heun", aliases=("k_heun",), options=_SECOND),
    SamplerRow(
        name="DPM2", aliases=("k_dpm_2",), options={**_KARRAS, **_DISCARD, **_SECOND}, default_schedule="Karras"
    ),
    SamplerRow(
        name="DPM2 a",
        aliases=("k_dpm_2_a",),
        options={**_KARRAS, **_DISCARD, **_ENSD, **_SECOND},
        default_schedule="Karras",
    ),
    SamplerRow(name="DPM fast", aliases=("k_dpm_fast",), options=_ENSD),
    SamplerRow(name="DPM adaptive", aliases=("k_dpm_ad",), options=_ENSD),
    SamplerRow(name="Restart", aliases=("restart",), options={**_KARRAS, **_SECOND}, default_schedule="Karras"),
    SamplerRow(name="DDIM", aliases=("ddim",)),
    SamplerRow(name="DDIM CFG++", aliases=("ddim_cfgpp",)),
    SamplerRow(name="PLMS", aliases=("plms",)),
    SamplerRow(name="UniPC", aliases=("unipc",)),
    SamplerRow(name="LCM", aliases=("k_lcm",)),
)
"""All samplers of A1111 1.10.1, in its order."""


SCHEDULES: tuple[ScheduleRow, ...] = (
    ScheduleRow(name="automatic", label=AUTOMATIC),
    ScheduleRow(name="uniform", label="Uniform", need_inner_model=True),
    ScheduleRow(name="karras", label="Karras", default_rho=7.0),
    ScheduleRow(name="exponential", label="Exponential"),
    ScheduleRow(name="polyexponential", label="Polyexponential", default_rho=1.0),
    ScheduleRow(name="sgm_uniform", label="SGM Uniform", aliases=("SGMUniform",), need_inner_model=True),
    ScheduleRow(name="kl_optimal", label="KL Optimal"),
    ScheduleRow(name="align_your_steps", label="Align Your Steps"),
    ScheduleRow(name="simple", label="Simple", need_inner_model=True),
    ScheduleRow(name="normal", label="Normal", need_inner_model=True),
    ScheduleRow(name="ddim", label="DDIM", need_inner_model=True),
    ScheduleRow(name="beta", label="Beta", need_inner_model=True),
)
"""All schedules of A1111 1.10.1, in its order; "Automatic" stands for the sampler's default."""


def find_sampler(name: str) -> SamplerRow:
    """The sampler of this name or alias, case-insensitively. Joined old names: see `split_sampler_name`.

    Raises:
        NotFound: there is none; the nearest names are offered.
    """
    return _find("sampler", "sampler_name", name, _sampler_names())


def find_schedule(name: str) -> ScheduleRow:
    """The schedule of this label, name or alias, case-insensitively ("Karras", "karras", "SGMUniform").

    Raises:
        NotFound: there is none; the nearest labels are offered.
    """
    return _find("schedule type", "scheduler", name, _schedule_names())


def split_sampler_name(name: str) -> tuple[str, str]:
    """Take a joined name from before A1111 1.9 apart: "DPM++ 2M Karras" is ("DPM++ 2M", "Karras").

    A1111 1.10.1 (`get_sampler_and_scheduler`) cuts a trailing " " + label, name or alias of a schedule off; here
    a name that already is a sampler is never cut.

    Returns:
        The canonical sampler name and the canonical schedule label; the label is empty when the name carries none.

    Raises:
        NotFound: neither the name nor what is left of it is a sampler.
    """
    samplers = _sampler_names()
    wanted = _key(name)
    if wanted in samplers:
        return samplers[wanted].name, ""
    for ending, schedule in _schedule_names().items():
        sampler = samplers.get(wanted.removesuffix(" " + ending))
        if sampler is not None:
            return sampler.name, schedule.label
    return find_sampler(name).name, ""


_Row = TypeVar("_Row", SamplerRow, ScheduleRow)


def _find(kind: str, request_field: str, name: str, rows: Mapping[str, _Row]) -> _Row:
    row = rows.get(_key(name))
    if row is None:
        raise NotFound(kind, name, _titles(tuple(rows.values())), field=request_field)
    return row


def _sampler_names() -> dict[str, SamplerRow]:
    return {_key(one): row for row in SAMPLERS for one in (*row.aliases, row.name)}


def _schedule_names() -> dict[str, ScheduleRow]:
    return {_key(one): row for row in SCHEDULES for one in (*row.aliases, row.name, row.label)}


def _titles(rows: Sequence[SamplerRow | ScheduleRow]) -> list[str]:
    return list(dict.fromkeys(row.name if isinstance(row, SamplerRow) else row.label for row in rows))


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()

"""The table of runtime options: one row feeds the settings tab, the API and the docs. To add one: add a row.

A key has A1111's name where A1111 has the option. "user" options are each person's own defaults, copied into a request
when it is submitted; "server" options concern everybody and are an administrator's to set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdwebui.domain.catalog import AUTOMATIC, SAMPLERS, SCHEDULES
from sdwebui.domain.emphasis import EMPHASIS_MODES
from sdwebui.domain.errors import InvalidRequest, NotFound

OptionValue = bool | int | float | str


@dataclass(frozen=True, kw_only=True)
class OptionRow:
    """One option.

    Attributes:
        key: the stable name, as clients of the API know it.
        default: value while nobody has set it; its type is the option's type.
        section: heading of the settings tab under which it stands.
        label: short English name; `label_zh` in Simplified Chinese.
        help: one English sentence or two; `help_zh` in Simplified Chinese.
        minimum: smallest number allowed; None for no bound.
        maximum: largest number allowed; None for no bound.
        choices: allowed values of a text option; empty for any (or for a catalogue's names).
        catalog: kind of model file whose names are the values ("checkpoint"), or empty.
        unit: unit of a number ("steps"), or empty.
        scope: "user" or "server".
        needs_restart: True when a change shows only after the worker has been started again.
    """

    key: str
    default: OptionValue
    section: str
    label: str
    label_zh: str
    help: str
    help_zh: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    catalog: str = ""
    unit: str = ""
    scope: str = "user"
    needs_restart: bool = False


OPTIONS: tuple[OptionRow, ...] = (
    OptionRow(
        key="sd_model_checkpoint",
        default="",
        section="Stable Diffusion",
        label="Checkpoint",
        label_zh="模型",
        help="The checkpoint of requests that name none. Empty: the first usable file by name.",
        help_zh="请求未指定模型时使用的模型。留空则按名称使用第一个可用文件。",
        catalog="checkpoint",
    ),
    OptionRow(
        key="CLIP_stop_at_last_layers",
        default=1,
        section="Stable Diffusion",
        label="Clip skip",
        label_zh="CLIP 跳过层",
        help="Which layer of the text encoder is used, counted from the end; 1 is the last one.",
        help_zh="使用文本编码器倒数第几层的输出；1 表示最后一层。",
        minimum=1,
        maximum=12,
        unit="layers",
    ),
    OptionRow(
        key="emphasis",
        default="Original",
        section="Stable Diffusion",
        label="Emphasis mode",
        label_zh="权重模式",
        help="How (word:1.2) acts. Original rescales each chunk to its old mean, No norm does not, Ignore drops "
        "weights, None takes brackets as text.",
        help_zh="(词:1.2) 的作用方式。Original 按块恢复均值，No norm 不恢复，Ignore 忽略权重，None 视括号为文本。",
        choices=EMPHASIS_MODES,
    ),
    OptionRow(
        key="comma_padding_backtrack",
        default=20,
        section="Stable Diffusion",
        label="Prompt word wrap length limit",
        label_zh="提示词分块回溯长度",
        help="A full prompt chunk is cut at its last comma when that is at most so many tokens back; 0 for never.",
        help_zh="提示词块装满时，若最近的逗号在此数量的词元以内，则在该逗号处分块；0 表示不回溯。",
        minimum=0,
        maximum=74,
        unit="tokens",
    ),
    OptionRow(
        key="pad_cond_uncond",
        default=False,
        section="Optimizations",
        label="Pad prompt and negative prompt to the same length",
        label_zh="将正负提示词补齐到相同长度",
        help="One call of the UNet instead of two when the lengths differ: faster, with slightly other pictures.",
        help_zh="长度不同时 UNet 只需调用一次：更快，但图像略有变化。",
    ),
    OptionRow(
        key="default_sampler",
        default="DPM++ 2M",
        section="Defaults",
        label="Sampler",
        label_zh="采样器",
        help="The sampler of requests that name none.",
        help_zh="请求未指定采样器时使用的采样器。",
        choices=tuple(row.name for row in SAMPLERS),
    ),
    OptionRow(
        key="default_schedule",
        default=AUTOMATIC,
        section="Defaults",
        label="Schedule type",
        label_zh="调度类型",
        help="The schedule of requests that name none; Automatic is the sampler's own.",
        help_zh="请求未指定调度类型时使用的类型；Automatic 为采样器自身的默认值。",
        choices=tuple(row.label for row in SCHEDULES),
    ),
    OptionRow(
        key="live_previews_enable",
        default=True,
        section="Live previews",
        label="Show live previews",
        label_zh="显示实时预览",
        help="Send a small picture of the state of the work while it goes on.",
        help_zh="生成过程中显示当前进度的小图。",
    ),
    OptionRow(
        key="show_progress_every_n_steps",
        default=5,
        section="Live previews",
        label="Preview every so many steps",
        label_zh="每隔多少步预览一次",
        help="A preview is made at every so many sampling steps. More previews cost a little speed.",
        help_zh="每隔若干采样步生成一次预览。预览越频繁，速度略有下降。",
        minimum=1,
        maximum=32,
        unit="steps",
    ),
    OptionRow(
        key="samples_format",
        default="png",
        section="Saving",
        label="File format of pictures",
        label_zh="图像文件格式",
        help="Format of stored pictures and of the API's answers. PNG keeps the settings in the file.",
        help_zh="保存的图像及 API 返回的格式。PNG 会在文件中保留生成参数。",
        choices=("png",),
        scope="server",
    ),
    OptionRow(
        key="unet_accelerator_enabled",
        default=True,
        section="Accelerator",
        label="Apply accelerator in UNet to speed up the whole network inference when loading models",
        label_zh="加载模型时在 UNet 中启用加速器以提升整个网络的推理速度",
        help="Runs the UNet through the accelerator; off, the backend below is used. Holds from the next picture on.",
        help_zh="通过加速器运行 UNet；关闭时使用下面的后端。下一张图像起生效。",
        scope="server",
    ),
    OptionRow(
        key="unet_fallback_backend",
        default="sdpa",
        section="Accelerator",
        label="UNet backend when the accelerator is off",
        label_zh="关闭加速器时的 UNet 后端",
        help="How attention is computed without the accelerator.",
        help_zh="不使用加速器时注意力的计算方式。",
        choices=("sdpa",),
        scope="server",
    ),
)
"""Every option that something reads, in the order of the settings tab."""


def find_option(key: str) -> OptionRow:
    """The row of a key. Raises `NotFound` with the nearest keys."""
    for row in OPTIONS:
        if row.key == key:
            return row
    raise NotFound("option", key, [row.key for row in OPTIONS], field=key)


def option_defaults() -> dict[str, OptionValue]:
    """Every key with its default."""
    return {row.key: row.default for row in OPTIONS}


def check_option(row: OptionRow, value: object) -> OptionValue:
    """The value in the option's type, or `InvalidRequest`. Whole numbers may come as 2.0, as JSON clients send them.

    Raises:
        InvalidRequest: wrong type, out of range, not one of the choices; names the option, the value and the rule.
    """
    return _CHECKS[type(row.default)](row, value)


def stored_options(stored: Mapping[str, Any]) -> tuple[dict[str, OptionValue], list[str]]:
    """The usable part of stored values: a bad or unknown one costs only itself.

    Returns:
        The good values, and one sentence for each value that was left out.
    """
    good: dict[str, OptionValue] = {}
    problems: list[str] = []
    for key, value in stored.items():
        try:
            good[key] = check_option(find_option(key), value)
        except (InvalidRequest, NotFound) as error:
            problems.append(error.detail)
    return good, problems


def _check_switch(row: OptionRow, value: object) -> OptionValue:
    if isinstance(value, bool):
        return value
    raise InvalidRequest(row.key, value, "must be true or false")


def _check_whole(row: OptionRow, value: object) -> OptionValue:
    whole = _is_number(value) and value % 1 == 0  # type: ignore[operator]  # it is a number here
    if not whole or not _in_range(row, value):
        raise InvalidRequest(row.key, value, f"must be a whole number{_range_text(row)}")
    return int(value)  # type: ignore[call-overload,no-any-return]  # `whole` has checked that it is a number


def _check_real(row: OptionRow, value: object) -> OptionValue:
    real = _is_number(value)
    if not real or not _in_range(row, value):
        raise InvalidRequest(row.key, value, f"must be a number{_range_text(row)}")
    return float(value)  # type: ignore[arg-type]  # `real` has checked that it is a number


def _check_text(row: OptionRow, value: object) -> OptionValue:
    if not isinstance(value, str) or len(value) > 1000 or any(ord(letter) < 32 for letter in value):
        raise InvalidRequest(row.key, value, "must be one line of text of at most 1000 characters")
    if row.choices and value not in row.choices:
        raise InvalidRequest(row.key, value, f"must be one of {', '.join(row.choices)}")
    return value


def _is_number(value: object) -> bool:
    """A finite number; whole ones of thousands of digits, which JSON allows, are none."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _in_range(row: OptionRow, value: Any) -> bool:
    return (row.minimum is None or value >= row.minimum) and (row.maximum is None or value <= row.maximum)


def _range_text(row: OptionRow) -> str:
    parts = [f" {word} {bound:g}" for word, bound in (("from", row.minimum), ("to", row.maximum)) if bound is not None]
    return "".join(parts)


_CHECKS = {bool: _check_switch, int: _check_whole, float: _check_real, str: _check_text}

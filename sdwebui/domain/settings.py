"""Start-up settings: one row each, feeding the command line, the TOML file, the environment and the docs.

To add one: a field of `Settings` with its row beside it. Later sources win: defaults < TOML file < environment
`SDWEBUI_NAME` < command line. Nothing here changes while the server runs; what may change is in `domain/options.py`.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sdwebui.domain.errors import ConfigurationError, shortened

ENVIRONMENT_PREFIX = "SDWEBUI_"
_DEVICES = re.compile(r"auto|cpu|cuda(:\d+)?")
_SWITCHES = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class Secret:
    """Text that must not appear in logs, messages or introspection."""

    value: str = ""

    def __repr__(self) -> str:
        return "Secret('**********')" if self.value else "Secret('')"

    def __bool__(self) -> bool:
        return bool(self.value)


@dataclass(frozen=True, kw_only=True)
class SettingRow:
    """What the command line, the TOML file and the docs say of a setting.

    Attributes:
        name: field of `Settings`, key of the TOML file; `--name-with-dashes` and `SDWEBUI_NAME` come from it.
        default: value when nothing sets it; its type is the setting's type.
        help: one English sentence.
        unit: unit of a number, or empty.
        minimum: smallest number allowed, or None.
        maximum: largest number allowed, or None.
        choices: allowed texts, or empty for any.
        pattern: what a text must look like, with the rule in words; None for any.
        on_command_line: False for secrets, which everybody could read in the process list.
    """

    name: str
    default: Any
    help: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    pattern: tuple[re.Pattern[str], str] | None = None
    on_command_line: bool = True

    @property
    def variable(self) -> str:
        """Name of the environment variable."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """Name of the command-line option."""
        return "--" + self.name.replace("_", "-")


def _about(help_text: str, **rules: Any) -> Mapping[str, Any]:
    return {"help": help_text, **rules}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that is fixed when the server starts. Made by `load_settings`."""

    host: str = field(
        default="127.0.0.1", metadata=_about("Address to listen on; 0.0.0.0 for all networks of this machine.")
    )
    port: int = field(
        default=7860, metadata=_about("TCP port to listen on; 0 for any free one.", minimum=0, maximum=65535)
    )
    allowed_hosts: str = field(
        default="",
        metadata=_about("Host names by which browsers reach the server, with commas, beside localhost."),
    )
    data_dir: Path = field(
        default=Path("data"), metadata=_about("Folder of the database, pictures, uploads, caches and logs.")
    )
    models_dir: Path = field(default=Path("models"), metadata=_about("Folder of model files, by kind."))
    extensions_dir: Path = field(
        default=Path("extensions"),
        metadata=_about("Folder of extensions; this version names what it finds there and loads nothing."),
    )
    database: str = field(
        default="", metadata=_about("SQLAlchemy URL of the database; empty for the file sdwebui.db in the data folder.")
    )
    device: str = field(
        default="auto",
        metadata=_about(
            "Device that makes pictures: auto, cpu or cuda:N.",
            pattern=(_DEVICES, "must be auto, cpu, cuda or cuda:N"),
        ),
    )
    accelerator: str = field(
        default="", metadata=_about("UNet backend for every picture (eager, fused); empty for what the options say.")
    )
    runner: str = field(
        default="local",
        metadata=_about("Where jobs run: local is a process on this machine.", choices=("local",)),
    )
    safe_mode: bool = field(
        default=False, metadata=_about("Start without extensions and accelerators, whatever the options say.")
    )
    log_level: str = field(
        default="info",
        metadata=_about("Least important messages to log.", choices=("debug", "info", "warning", "error")),
    )
    username: str = field(
        default="", metadata=_about("Name of the first administrator, created when there is no account.")
    )
    password: Secret = field(
        default=Secret(), metadata=_about("Password of the first administrator.", on_command_line=False)
    )
    password_file: str = field(
        default="",
        metadata=_about("File with the password of the first administrator, instead of the password itself."),
    )
    jobs_at_once: int = field(
        default=4, metadata=_about("Jobs that a device works on in the same steps.", unit="jobs", minimum=1, maximum=64)
    )
    queue_limit: int = field(
        default=256, metadata=_about("Jobs that may wait; more are refused.", unit="jobs", minimum=1, maximum=100000)
    )
    disk_low_water_mb: int = field(
        default=512,
        metadata=_about(
            "No job is accepted while the disk for pictures has less free space.",
            unit="MB",
            minimum=0,
            maximum=10000000,
        ),
    )
    session_idle_days: float = field(
        default=7.0,
        metadata=_about("A login ends when it was not used for so long.", unit="days", minimum=0.01, maximum=365),
    )
    session_absolute_days: float = field(
        default=30.0, metadata=_about("A login ends after so long.", unit="days", minimum=0.01, maximum=3650)
    )

    @property
    def database_url(self) -> str:
        """URL of the database, the default file in the data folder when none is set."""
        return self.database or f"sqlite:///{self.data_dir.absolute() / 'sdwebui.db'}"


SETTINGS: tuple[SettingRow, ...] = tuple(
    SettingRow(name=one.name, default=one.default, **one.metadata) for one in dataclasses.fields(Settings)
)
"""All rows, in the order of `Settings`."""


def load_settings(
    *,
    toml: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Settings:
    """Join the sources, later ones winning.

    Args:
        toml: content of the configuration file, as `read_toml` gives it.
        environ: the environment; variables that are no setting are ignored.
        arguments: options given on the command line, by setting name; others are ignored.

    Raises:
        ConfigurationError: an unknown key in the file, or a value that breaks its rule; names the setting, the value,
            where it came from, the rule and the next step.
    """
    values: dict[str, Any] = {}
    _refuse_unknown_keys(toml or {})
    for row in SETTINGS:
        for source, given in (
            (f"key {row.name} of the configuration file", (toml or {}).get(row.name)),
            (f"environment variable {row.variable}", (environ or {}).get(row.variable)),
            (f"option {row.flag}", (arguments or {}).get(row.name)),
        ):
            if given is not None:
                values[row.name] = _checked(row, given, source)
    return Settings(**values)


def read_toml(path: Path) -> Mapping[str, Any]:
    """The content of a configuration file. Raises `ConfigurationError` when it cannot be read or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigurationError(
            f"The configuration file {str(path)!r} cannot be read: {exc.strerror}. Give another --config."
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(
            f"The configuration file {str(path)!r} is not TOML: {exc}. Correct it; configs/sdwebui.toml shows how."
        ) from exc


def read_password_file(path: Path) -> Secret:
    """The password in a file: its content without the last line end. Raises `ConfigurationError`."""
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(
            f"The password file {str(path)!r} cannot be read: {reason}. Correct SDWEBUI_PASSWORD_FILE."
        ) from exc
    if not text or "\n" in text:
        raise ConfigurationError(f"The password file {str(path)!r} must hold exactly one line, the password.")
    return Secret(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an option for every setting. What the user does not give is absent from the parsed result."""
    for row in SETTINGS:
        if not row.on_command_line:
            continue
        text = f"{row.help} Default: {_shown(row.default) or 'empty'}{' ' + row.unit if row.unit else ''}."
        text = text.replace("%", "%%")
        if isinstance(row.default, bool):
            parser.add_argument(row.flag, action="store_true", default=argparse.SUPPRESS, help=text)
        else:
            choices = "{" + ",".join(row.choices) + "}" if row.choices else row.name.rpartition("_")[2].upper()
            parser.add_argument(row.flag, metavar=choices, default=argparse.SUPPRESS, help=text)


def documented_toml() -> str:
    """The text of `configs/sdwebui.toml`: every key, commented out, with its help, unit, range and variable."""
    lines = ["# Every setting with its default. Remove the # before a key to change it."]
    for row in SETTINGS:
        facts = [f"Environment: {row.variable}."]
        facts += [f"Option: {row.flag}."] if row.on_command_line else []
        facts += [f"Unit: {row.unit}."] if row.unit else []
        facts += [f"One of: {', '.join(row.choices)}."] if row.choices else []
        facts += [f"Range: {row.minimum:g} to {row.maximum:g}."] if row.minimum is not None else []
        lines += ["", f"# {row.help}", f"# {' '.join(facts)}", f"# {row.name} = {_toml_value(row.default)}"]
    return "\n".join(lines) + "\n"


def _refuse_unknown_keys(toml: Mapping[str, Any]) -> None:
    known = [row.name for row in SETTINGS]
    for key in toml:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known)}."
            raise ConfigurationError(
                f"The configuration file has the key {shortened(key)}, but no setting is so called. {hint}"
            )


def _checked(row: SettingRow, given: Any, source: str) -> Any:
    value, rule = _CONVERTERS[type(row.default)](row, given)
    if not rule and isinstance(value, int | float) and not isinstance(value, bool):
        rule = _range_rule(row, value)
    if not rule and row.choices and value not in row.choices:
        rule = f"must be one of {', '.join(row.choices)}"
    if not rule and row.pattern and not row.pattern[0].fullmatch(value):
        rule = row.pattern[1]
    if rule:
        shown = "hidden" if isinstance(row.default, Secret) else shortened(given)
        raise ConfigurationError(f"Setting {row.name} is {shown}, but it {rule}. Correct the {source}.")
    return value


def _range_rule(row: SettingRow, value: float) -> str:
    too_small = row.minimum is not None and value < row.minimum
    too_large = row.maximum is not None and value > row.maximum
    return f"must be from {row.minimum:g} to {row.maximum:g}" if too_small or too_large else ""


def _to_switch(_row: SettingRow, given: Any) -> tuple[Any, str]:
    value = given if isinstance(given, bool) else _SWITCHES.get(str(given).strip().lower())
    return value, "" if value is not None else "must be true or false"


def _to_whole(_row: SettingRow, given: Any) -> tuple[Any, str]:
    text = str(given).strip()
    fits = not isinstance(given, bool | float) and len(text) < 20 and re.fullmatch(r"[+-]?[0-9]+", text)
    return (int(text), "") if fits else (None, "must be a whole number")


def _to_real(_row: SettingRow, given: Any) -> tuple[Any, str]:
    text = str(given).strip()
    fits = not isinstance(given, bool) and re.fullmatch(r"[+-]?[0-9]{1,15}(\.[0-9]{0,15})?", text)
    return (float(text), "") if fits else (None, "must be a number")


def _to_text(_row: SettingRow, given: Any) -> tuple[Any, str]:
    fits = isinstance(given, str) and given.isprintable()
    return (given, "") if fits else (None, "must be one line of text")


def _to_path(row: SettingRow, given: Any) -> tuple[Any, str]:
    value, rule = _to_text(row, str(given) if isinstance(given, Path) else given)
    return (Path(value).expanduser(), "") if value else (None, rule or "must be the path of a folder")


def _to_secret(row: SettingRow, given: Any) -> tuple[Any, str]:
    value, rule = _to_text(row, given)
    return Secret(value or ""), rule


_CONVERTERS: Mapping[type, Any] = {
    bool: _to_switch,
    int: _to_whole,
    float: _to_real,
    str: _to_text,
    type(Path()): _to_path,
    Secret: _to_secret,
}


def _shown(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _toml_value(default: Any) -> str:
    if isinstance(default, bool | int | float):
        return _shown(default)
    return '""' if isinstance(default, Secret) else f'"{default}"'

"""Start-up settings: sources, rules, secrets, and what is generated from the rows."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path

import pytest

from sdwebui.domain.errors import ConfigurationError
from sdwebui.domain.settings import (
    SETTINGS,
    Secret,
    Settings,
    add_arguments,
    documented_toml,
    load_settings,
    read_password_file,
    read_toml,
)


def test_later_sources_win():
    toml, environ, arguments = (
        {"port": 1, "host": "a", "device": "cpu"},
        {"SDWEBUI_PORT": "2", "SDWEBUI_HOST": "b"},
        {"port": "3"},
    )
    settings = load_settings(toml=toml, environ=environ, arguments=arguments)
    assert (settings.port, settings.host, settings.device, settings.queue_limit) == (3, "b", "cpu", 256)
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("SDWEBUI_SAFE_MODE", "yes", "safe_mode", True),
        ("SDWEBUI_SAFE_MODE", "0", "safe_mode", False),
        ("SDWEBUI_DATA_DIR", "/var/lib/sdwebui", "data_dir", Path("/var/lib/sdwebui")),
        ("SDWEBUI_SESSION_IDLE_DAYS", "0.5", "session_idle_days", 0.5),
        ("SDWEBUI_DEVICE", "cuda:1", "device", "cuda:1"),
        ("SDWEBUI_PASSWORD", "geheim", "password", Secret("geheim")),
    ],
)
def test_the_environment_sets_every_type(variable, value, field, expected):
    assert getattr(load_settings(environ={variable: value}), field) == expected


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        (
            {"environ": {"SDWEBUI_PORT": "x"}},
            "Setting port is 'x', but it must be a whole number. Correct the environment variable SDWEBUI_PORT.",
        ),
        (
            {"arguments": {"port": "70000"}},
            "Setting port is '70000', but it must be from 0 to 65535. Correct the option --port.",
        ),
        (
            {"toml": {"port": 1.5}},
            "Setting port is 1.5, but it must be a whole number. Correct the key port of the configuration file.",
        ),
        ({"toml": {"port": True}}, "must be a whole number"),
        ({"toml": {"prot": 1}}, "has the key 'prot', but no setting is so called. Did you mean 'port'?"),
        ({"toml": {"zzz": 1}}, "Known keys: host, port"),
        ({"arguments": {"device": "gpu"}}, "Setting device is 'gpu', but it must be auto, cpu"),
        ({"arguments": {"runner": "slurm"}}, "must be one of local"),
        ({"environ": {"SDWEBUI_SAFE_MODE": "maybe"}}, "must be true or false"),
        ({"environ": {"SDWEBUI_DATA_DIR": ""}}, "must be the path of a folder"),
        ({"toml": {"data_dir": 3}}, "must be one line of text"),
        ({"environ": {"SDWEBUI_SESSION_IDLE_DAYS": "inf"}}, "must be a number"),
        ({"environ": {"SDWEBUI_PORT": "9" * 5000}}, "must be a whole number"),
    ],
)
def test_a_bad_value_names_setting_value_rule_and_source(sources, sentence):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**sources)
    assert sentence in caught.value.detail
    assert len(caught.value.detail) < 600


def test_variables_of_others_are_ignored():
    load_settings(environ={"SDWEBUI_SERVICE_HOST": "10.0.0.1", "PATH": "/bin", "SDWEBUI_CONFIG": "x.toml"})


def test_secrets_never_show():
    settings = load_settings(environ={"SDWEBUI_PASSWORD": "geheim"})
    assert "geheim" not in repr(settings)
    assert "geheim" not in str(settings.password)
    assert settings.password.value == "geheim"
    assert settings.password
    assert not Settings().password
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ={"SDWEBUI_PASSWORD": "geh\neim"})
    assert "geh" not in caught.value.detail


def test_the_database_lies_in_the_data_folder_unless_told(tmp_path):
    assert load_settings(arguments={"data_dir": str(tmp_path)}).database_url == f"sqlite:///{tmp_path}/sdwebui.db"
    assert load_settings(arguments={"database": "postgresql://x"}).database_url == "postgresql://x"


def test_the_command_line_has_an_option_for_every_setting_but_secrets():
    parser = argparse.ArgumentParser(prog="sdwebui serve")
    add_arguments(parser)
    text = parser.format_help()
    for row in SETTINGS:
        assert (row.flag + " " in text or row.flag + "\n" in text or row.flag + "]" in text) == row.on_command_line
    assert vars(parser.parse_args([])) == {}
    given = vars(parser.parse_args(["--port", "8000", "--safe-mode", "--models-dir", "m"]))
    settings = load_settings(arguments=given)
    assert (settings.port, settings.safe_mode, settings.models_dir) == (8000, True, Path("m"))


def test_the_documented_file_is_toml_whose_values_are_the_defaults():
    text = documented_toml()
    uncommented = "\n".join(line[2:] for line in text.splitlines() if line.startswith("# ") and " = " in line)
    parsed = tomllib.loads(uncommented)
    assert set(parsed) == {row.name for row in SETTINGS}
    assert load_settings(toml=parsed) == Settings()
    assert load_settings(toml=tomllib.loads(text)) == Settings()
    for row in SETTINGS:
        assert row.help in text
        assert row.variable in text


def test_a_file_that_cannot_be_read_or_is_no_toml_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot be read: No such file.*--config"):
        read_toml(tmp_path / "nothing.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("port = = 3")
    with pytest.raises(ConfigurationError, match=r"bad.toml' is not TOML: .*line 1"):
        read_toml(bad)
    bad.write_text("port = 3\n")
    assert load_settings(toml=read_toml(bad)).port == 3


def test_a_password_file_holds_one_line(tmp_path):
    file = tmp_path / "password"
    file.write_text("geheim mit ende\n")
    assert read_password_file(file) == Secret("geheim mit ende")
    for content in ("", "\n", "a\nb\n"):
        file.write_text(content)
        with pytest.raises(ConfigurationError, match="exactly one line"):
            read_password_file(file)
    with pytest.raises(ConfigurationError, match="SDWEBUI_PASSWORD_FILE"):
        read_password_file(tmp_path / "nothing")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_password_file(file)

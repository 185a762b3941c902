"""The command line: exit statuses, sentences, and secrets that never come from argv."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from sdwebui.cli import EXIT_CONFIGURATION, EXIT_ERROR, main


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    return ["--data-dir", str(tmp_path / "data"), "--models-dir", str(tmp_path / "models")]


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for command in (
        "serve",
        "txt2img",
        "verify",
        "prompt",
        "users",
        "tokens",
        "models",
        "doctor",
        "bench",
        "migrate",
        "worker",
    ):
        assert f"\n    {command} " in shown


def test_a_prompt_is_understood_as_the_interface_says(capsys):
    assert main(["prompt", "a [cat:dog:0.5] AND (moon:1.2) :2 <lora:x:0.5>", "--steps", "10", "--json"]) == 0
    understood = json.loads(capsys.readouterr().out)
    first, second = understood["and"]
    assert [(one["until_step"], one["text"]) for one in first["schedule"]] == [(5, "a cat"), (10, "a dog")]
    assert (second["weight"], second["schedule"][0]["attention"]) == (2.0, [[" ", 1.0], ["moon", 1.2]])
    assert [(one["kind"], one["name"]) for one in understood["networks"]] == [("lora", "x")]


def test_prompts_come_one_a_line_from_standard_input(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a moon\n(((\n"))
    assert main(["prompt", "-", "--json"]) == 0
    assert [len(json.loads(line)["and"]) for line in capsys.readouterr().out.splitlines()] == [1, 1]


def test_an_account_is_added_with_a_password_from_standard_input_and_listed(folders, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough pass\n"))
    assert main(["users", "add", "alice", "--role", "admin", *folders]) == 0
    assert main(["users", "list", *folders]) == 0
    assert "alice\tadmin\tenabled" in capsys.readouterr().out


def test_a_password_comes_from_a_file_and_a_token_is_printed_once(folders, tmp_path, capsys):
    secret = tmp_path / "password"
    secret.write_text("a long enough pass\n", encoding="utf-8")
    assert main(["users", "add", "bob", "--from-file", str(secret), *folders]) == 0
    assert main(["users", "disable", "bob", *folders]) == 0
    assert main(["users", "list", *folders]) == 0
    assert "bob\tuser\tdisabled" in capsys.readouterr().out
    assert main(["users", "enable", "bob", *folders]) == 0
    assert main(["users", "list", *folders]) == 0
    assert "bob\tuser\tenabled" in capsys.readouterr().out
    assert main(["tokens", "add", "bob", "laptop", *folders]) == 0
    token = capsys.readouterr().out.strip()
    assert len(token) >= 43
    assert main(["tokens", "list", *folders]) == 0
    shown = capsys.readouterr().out
    assert "laptop\tbob" in shown
    assert token not in shown


def test_a_weak_password_is_refused_with_a_sentence(folders, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert main(["users", "add", "alice", *folders]) == EXIT_ERROR
    assert "at least 8 characters" in capsys.readouterr().err


def test_no_command_takes_a_password_from_argv(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--password", "x"])
    assert "unrecognized arguments" in capsys.readouterr().err


def test_a_wrong_setting_exits_with_78_naming_setting_value_and_rule(capsys):
    assert main(["doctor", "--port", "99999"]) == EXIT_CONFIGURATION
    assert "port is '99999', but it must be from 0 to 65535" in capsys.readouterr().err


def test_an_unreadable_configuration_file_exits_with_78(tmp_path, capsys):
    assert main(["migrate", "--config", str(tmp_path / "none.toml")]) == EXIT_CONFIGURATION
    assert "none.toml" in capsys.readouterr().err


def test_models_check_finds_the_damaged_file(folders, tmp_path, capsys):
    kind = tmp_path / "models" / "Stable-diffusion"
    kind.mkdir(parents=True)
    (kind / "page.safetensors").write_text("<!DOCTYPE html><html>", encoding="utf-8")
    assert main(["models", "check", *folders]) == EXIT_ERROR
    shown = capsys.readouterr().out
    assert "page" in shown
    assert "1 files, 1 unusable." in shown


def test_migrate_says_the_revision(folders, capsys):
    assert main(["migrate", *folders]) == 0
    assert "The database is at revision 2026_11_22" in capsys.readouterr().out


def test_an_unknown_benchmark_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "nothing"])
    assert "invalid choice" in capsys.readouterr().err

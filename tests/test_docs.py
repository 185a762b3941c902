"""What is not documented fails here: settings, commands, samplers, modules of the map, changelog."""

from __future__ import annotations

import re
import tomllib

import pytest

from sdwebui.cli import _COMMANDS
from sdwebui.domain.catalog import SAMPLERS, SCHEDULES
from sdwebui.domain.options import OPTIONS
from sdwebui.domain.settings import SETTINGS, documented_toml


def test_the_documented_configuration_is_the_one_the_program_reads(project_root):
    text = (project_root / "configs" / "sdwebui.toml").read_text(encoding="utf-8")
    assert text == documented_toml(), (
        "write it again: python -c 'from sdwebui.domain.settings import documented_toml; …'"
    )
    uncommented = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    assert set(tomllib.loads(uncommented)) == {row.name for row in SETTINGS}


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.key)
def test_every_option_has_label_and_help_in_both_languages(row):
    assert all((row.label, row.help, row.label_zh, row.help_zh))
    assert re.search(r"[\u4e00-\u9fff]", row.label_zh + row.help_zh)


def test_the_map_names_every_room_and_its_modules(project_root):
    text = (project_root / "sdwebui" / "README.md").read_text(encoding="utf-8")
    missing = [
        str(path.relative_to(project_root))
        for path in sorted((project_root / "sdwebui").rglob("*.py"))
        if path.name != "__init__.py" and "migrations" not in path.parts and not re.search(rf"\b{path.stem}\b", text)
    ]
    assert missing == []


def test_the_readme_shows_the_commands_people_type(project_root):
    text = (project_root / "README.md").read_text(encoding="utf-8")
    assert [
        row.name for row in _COMMANDS if row.name not in text and row.name not in ("worker", "migrate", "tokens")
    ] == []


def test_samplers_and_schedules_are_listed_for_people(project_root):
    text = (project_root / "sdwebui" / "engine" / "README.md").read_text(encoding="utf-8")
    assert [row.name for row in SAMPLERS if f"| {row.name} |" not in text] == []
    assert [row.label for row in SCHEDULES if f"| {row.label} |" not in text] == []


def test_the_changelog_has_this_version_or_an_unreleased_part(project_root):
    text = (project_root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## Unreleased" in text or "## 0.1.0" in text


def test_no_link_of_the_documents_is_dead(project_root):
    dead = [
        f"{page.relative_to(project_root)}: {target}"
        for page in project_root.rglob("*.md")
        if not {".venv", ".git", "data"} & set(page.relative_to(project_root).parts)
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert dead == []


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_every_setting_is_read_somewhere(project_root, row):
    files = [path for path in (project_root / "sdwebui").rglob("*.py") if path.name != "settings.py"]
    readers = re.compile(rf"settings\.{row.name}\b|\b{row.name.removesuffix('_url')}\b.*getattr")
    inside = re.compile(rf"self\.{row.name}\b")
    settings_file = (project_root / "sdwebui" / "domain" / "settings.py").read_text(encoding="utf-8")
    read = any(readers.search(path.read_text(encoding="utf-8")) for path in files)
    assert read or inside.search(settings_file) or row.name == "runner"

"""The doctor's verdicts."""

from __future__ import annotations

from pathlib import Path

from sdwebui.doctor import Finding, examine
from sdwebui.domain.settings import Settings
from tests.tiny import write_tiny_checkpoint


def settings(folder: Path, **changes: object) -> Settings:
    return Settings(data_dir=folder / "data", models_dir=folder / "models", device="cpu", **changes)  # type: ignore[arg-type]


def verdicts(found: list[Finding], subject: str) -> list[str]:
    return [finding.verdict for finding in found if finding.subject == subject]


def test_a_machine_without_checkpoints_cannot_serve(tmp_path):
    found = examine(settings(tmp_path))
    assert verdicts(found, "checkpoints") == ["broken"]
    assert verdicts(found, "device") == ["good"]
    assert verdicts(found, "database") == ["note"]


def test_a_healthy_checkpoint_is_named_and_a_damaged_one_noted(tmp_path):
    folder = tmp_path / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    write_tiny_checkpoint(folder)
    (folder / "cut.safetensors").write_bytes(b"\x10\x00")
    found = examine(settings(tmp_path))
    assert verdicts(found, "checkpoints") == ["good", "note"]
    assert any("tiny (sd1)" in finding.detail for finding in found)


def test_a_device_that_is_not_there_is_broken_with_the_reason(tmp_path):
    found = examine(settings(tmp_path, disk_low_water_mb=10**7).__class__(device="cuda:63", models_dir=tmp_path))
    assert verdicts(found, "device") == ["broken"]


def test_too_little_disk_is_broken(tmp_path):
    found = examine(settings(tmp_path, disk_low_water_mb=10_000_000))
    assert verdicts(found, "disk") == ["broken"]


def test_a_data_folder_that_cannot_be_one_is_broken(tmp_path):
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    assert verdicts(examine(settings(tmp_path)), "disk") == ["broken"]
    below = examine(Settings(data_dir=Path("/proc/self/data"), models_dir=tmp_path, device="cpu"))
    assert verdicts(below, "disk") == ["broken"]


def test_a_database_url_that_is_none_is_broken_and_not_a_traceback(tmp_path):
    assert verdicts(examine(settings(tmp_path, database="garbage")), "database") == ["broken"]

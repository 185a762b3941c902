"""Small rules of the result records."""

from __future__ import annotations

from sdwebui.domain.results import JobState, ModelFile


def test_only_queued_and_running_jobs_can_change():
    assert {state for state in JobState if not state.is_final} == {JobState.QUEUED, JobState.RUNNING}


def test_a_title_carries_the_short_hash_once_it_is_known():
    file = ModelFile(kind="checkpoint", name="a/b", path="/m/a/b.safetensors", size_bytes=1, mtime_ns=1)
    assert file.title == "a/b.safetensors"
    hashed = ModelFile(
        kind="checkpoint", name="a/b", path="/m/a/b.safetensors", size_bytes=1, mtime_ns=1, sha256="0123456789abcdef"
    )
    assert hashed.title == "a/b.safetensors [0123456789]"

"""The composition root: parts that fit together, and a worker that draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdwebui.bootstrap import (
    ACCELERATOR_NAMES,
    accelerators,
    build_catalog,
    build_generation,
    build_resolver,
    inspect_model,
    open_stores,
)
from sdwebui.domain.errors import ConfigurationError, NotFound
from sdwebui.domain.options import find_option, option_defaults
from sdwebui.domain.requests import Txt2ImgRequest
from sdwebui.domain.results import JobState
from sdwebui.domain.settings import Settings
from sdwebui.ports import Account
from sdwebui.service.resolve import ACCELERATOR, BACKENDS
from tests.tiny import write_tiny_checkpoint


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "models" / "Stable-diffusion").mkdir(parents=True)
    write_tiny_checkpoint(tmp_path / "models" / "Stable-diffusion")
    return Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models", device="cpu")


def test_every_accelerator_of_the_table_says_its_own_name():
    assert {name: make().name for name, make in accelerators().items()} == {name: name for name in accelerators()}
    assert tuple(accelerators()) == ACCELERATOR_NAMES


def test_every_backend_that_a_request_can_name_exists():
    assert {ACCELERATOR, *BACKENDS.values()} <= set(accelerators())
    assert set(BACKENDS) == set(find_option("unet_fallback_backend").choices)


def test_a_look_into_a_file_tells_family_and_size_or_the_problem(settings, tmp_path):
    facts = inspect_model("checkpoint", settings.models_dir / "Stable-diffusion" / "tiny.safetensors")
    assert (facts.family, facts.problem) == ("sd1", "")
    page = tmp_path / "page.safetensors"
    page.write_text("<!DOCTYPE html>" * 10, encoding="utf-8")
    for kind in ("checkpoint", "lora"):
        assert "HTML" in inspect_model(kind, page).problem


def test_a_job_goes_through_stores_worker_process_and_files(settings):
    stores = open_stores(settings)
    generation = build_generation(settings, stores)
    stores.catalog.refresh()
    stores.accounts.ensure_first_administrator("alice", "a long enough pass")
    generation.start()
    try:
        request = Txt2ImgRequest(prompt="a moon", steps=2, width_px=64, height_px=64, seed=5, batch_count=2)
        job = generation.wait(generation.submit(request, owner="alice").id, timeout_s=180)
        assert (job.state, job.error) == (JobState.DONE, None)
        assert [image.seed for image in job.images] == [5, 6]
        viewer = Account(username="alice", role="admin")
        record, png = generation.image(job.images[0].id, viewer=viewer)
        assert png == Path(record.path).read_bytes()
        assert "Seed: 5," in record.infotext
        with pytest.raises(NotFound):
            generation.image(job.images[0].id, viewer=Account(username="bob", role="user"))
    finally:
        generation.close(5)
        stores.database.close()


def test_safe_mode_and_the_accelerator_setting_win_over_the_options(settings):
    catalog = build_catalog(settings)
    catalog.refresh()

    def accelerator_of(**changes: Any) -> str:
        resolver = build_resolver(catalog, replace(settings, **changes))
        return resolver.resolve(Txt2ImgRequest(prompt="a"), option_defaults()).accelerator

    assert accelerator_of() == "fused"
    assert accelerator_of(accelerator="eager") == "eager"
    assert accelerator_of(safe_mode=True) == "eager"
    with pytest.raises(ConfigurationError, match="accelerator is 'warp', but it must be one of eager, fused"):
        accelerator_of(accelerator="warp")

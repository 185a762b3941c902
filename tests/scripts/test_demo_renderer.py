"""The demo pictures: deterministic, and every attribute can be seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scripts.demo_models import scenes
from scripts.demo_models.render_background import BACKGROUND_PAINTERS
from scripts.demo_models.render_objects import OBJECT_PAINTERS
from scripts.demo_models.renderer import regions_of, render, weight_map
from scripts.demo_models.scenes import Scene, sample_scene

BASE = Scene(seed=3)
CHANGES = [
    *[{"subject": "1boy"}, {"closed_eyes": True}, {"star_pupils": True}, {"blush": True}, {"necklace": True}],
    *[{"robe": value} for value in scenes.ROBES if value != BASE.robe],
    *[{"hair": value} for value in scenes.HAIR_COLORS if value != BASE.hair],
    *[{"eyes": value} for value in scenes.EYE_COLORS if value != BASE.eyes],
    *[{"hair_style": value} for value in scenes.HAIR_STYLES if value != BASE.hair_style],
    *[{"framing": value} for value in scenes.FRAMINGS if value != BASE.framing],
    *[{"background": value} for value in scenes.BACKGROUNDS if value != BASE.background],
    *[{"held": value} for value in scenes.HELD_ITEMS if value != BASE.held],
    *[{"ornament": value} for value in scenes.ORNAMENTS if value != BASE.ornament],
    *[{"mouth": value} for value in scenes.MOUTHS if value != BASE.mouth],
    *[{"lights": (value,)} for value in scenes.LIGHTS],
    *[{"weather": value} for value in scenes.WEATHERS if value != BASE.weather],
    *[{"defect": value} for value in scenes.DEFECTS if value != BASE.defect],
]


def test_the_same_seed_draws_the_same_bytes() -> None:
    assert render(sample_scene(17)).tobytes() == render(sample_scene(17)).tobytes()


def test_different_seeds_draw_different_pictures_of_the_same_attributes() -> None:
    gap = np.abs(render(BASE).astype(int) - render(replace(BASE, seed=4)).astype(int)).mean()
    assert gap > 5


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_every_attribute_changes_pixels(change: dict[str, object]) -> None:
    changed = render(replace(BASE, **change))  # type: ignore[arg-type]  # one field of the right type
    different = (np.abs(changed.astype(int) - render(BASE).astype(int)).max(2) > 24).sum()
    assert different > 60


@pytest.mark.parametrize("scenery_object", scenes.SCENERY_OBJECTS[1:])
def test_every_scenery_object_changes_pixels(scenery_object: str) -> None:
    empty = Scene(seed=5, subject="no humans", framing="scenery", background="mountains")
    assert (render(empty) != render(replace(empty, scenery_object=scenery_object))).any()


def test_every_table_value_has_a_painter() -> None:
    assert set(BACKGROUND_PAINTERS) == set(scenes.BACKGROUNDS)
    assert set(OBJECT_PAINTERS) == set(scenes.SCENERY_OBJECTS) - {"none"}


def test_the_face_region_weighs_more_than_the_rest() -> None:
    weights = weight_map(BASE, 32)
    assert weights.shape == (32, 32)
    assert weights.max() > 3
    assert weights.min() == 1
    assert {region.name for region in regions_of(BASE)} == {"face", "eyes and mouth"}


def test_scenes_without_people_have_no_regions() -> None:
    assert regions_of(Scene(seed=1, subject="no humans", framing="scenery")) == ()

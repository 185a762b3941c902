"""Draws a scene: background, person, lights, weather, faults. To draw something new, add it to a `render_*` module."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.demo_models.canvas import Canvas, draw_surface, moved, new_surface, pixels_of, write_text
from scripts.demo_models.render_background import draw_background
from scripts.demo_models.render_defects import spoil
from scripts.demo_models.render_head import draw_back_hair, draw_head
from scripts.demo_models.render_held import draw_held, draw_umbrella, held_center
from scripts.demo_models.render_light import draw_bokeh, draw_rays, draw_rim_light, draw_two_tone, draw_weather
from scripts.demo_models.render_objects import draw_object
from scripts.demo_models.render_pose import Pose, pose_of
from scripts.demo_models.render_robe import draw_body
from scripts.demo_models.scenes import NATIVE_SIZE_PX, Scene


@dataclass(frozen=True, kw_only=True)
class Region:
    """A square part of the picture that matters: its centre, half side (pixels) and loss weight."""

    name: str
    x: float
    y: float
    half: float
    weight: float


def render(scene: Scene) -> NDArray[np.uint8]:
    """The scene's picture, RGB bytes [256, 256, 3]; the same scene always gives the same bytes."""
    surface = new_surface(NATIVE_SIZE_PX)
    canvas = surface.getCanvas()
    draw_background(canvas, scene.background, scene.rng("background"))
    draw_two_tone(canvas, scene, 90, inside=False)
    draw_bokeh(canvas, scene)
    if scene.has_person:
        person = new_surface(NATIVE_SIZE_PX)
        _draw_person(person.getCanvas(), scene, pose_of(scene))
        draw_two_tone(person.getCanvas(), scene, 125, inside=True)
        draw_rim_light(canvas, person, scene)
        draw_surface(canvas, person)
    else:
        draw_object(canvas, scene.scenery_object, scene.rng("object"))
    draw_rays(canvas, scene)
    draw_weather(canvas, scene)
    _draw_marks(canvas, scene)
    return spoil(pixels_of(surface), scene.defect, scene.rng("defect"))


def _draw_person(canvas: Canvas, scene: Scene, pose: Pose) -> None:
    with moved(canvas, pose.x, pose.y, pose.lean, pose.radius, pose.radius):
        draw_umbrella(canvas, scene, pose)
        with moved(canvas, 0, 0.9, pose.head_tilt), moved(canvas, 0, -0.9):
            draw_back_hair(canvas, scene, pose)
        draw_body(canvas, scene, pose)
        with moved(canvas, 0, 0.9, pose.head_tilt), moved(canvas, 0, -0.9):
            draw_head(canvas, scene, pose)
        draw_held(canvas, scene, pose)


def _draw_marks(canvas: Canvas, scene: Scene) -> None:
    rng = scene.rng("marks")
    letters = "".join(rng.choice("abcdefgh") for _ in range(7))
    if scene.defect == "watermark":
        with moved(canvas, 16, rng.uniform(90, 220), rng.uniform(-24, 6)):
            write_text(canvas, letters, 0, 0, 44, (255, 255, 255), 190)
    elif scene.defect == "signature":
        left = rng.choice([12, 150])
        write_text(canvas, letters[:5], left, rng.uniform(226, 246), 24, (250, 250, 250), 250)


def regions_of(scene: Scene) -> tuple[Region, ...]:
    """Face, held item, ornament, mouth and necklace of the picture, where details are small."""
    if not scene.has_person:
        return ()
    pose = pose_of(scene)
    spots = [("face", 0.0, 0.1, 1.05, 2.2), ("eyes and mouth", 0.0, 0.4, 0.72, 3.6)]
    if scene.necklace:
        spots.append(("necklace", 0.0, 1.5, 0.55, 3.0))
    if scene.ornament == "hair flower":
        spots.append(("ornament", pose.side * 0.65, -0.75, 0.6, 2.6))
    elif scene.ornament == "hairpin":
        spots.append(("ornament", pose.side * 1.05, -0.4, 0.65, 2.6))
    if scene.held != "none":
        x, y, half = held_center(scene, pose)
        spots.append(("held", x, y, half, 2.0))
    angle = math.radians(pose.lean)
    return tuple(
        Region(
            name=name,
            x=pose.x + pose.radius * (x * math.cos(angle) - y * math.sin(angle)),
            y=pose.y + pose.radius * (x * math.sin(angle) + y * math.cos(angle)),
            half=half * pose.radius,
            weight=weight,
        )
        for name, x, y, half, weight in spots
    )


def weight_map(scene: Scene, cells: int, floor: float = 1.0) -> NDArray[np.float32]:
    """Loss weights over a grid of the picture [cells, cells]; `floor` where nothing special is."""
    weights = np.full((cells, cells), floor, dtype=np.float32)
    centers = (np.arange(cells) + 0.5) * NATIVE_SIZE_PX / cells
    for region in regions_of(scene):
        rows = np.abs(centers - region.y) <= region.half
        columns = np.abs(centers - region.x) <= region.half
        inside = np.outer(rows, columns)
        weights[inside] = np.maximum(weights[inside], region.weight)
    return weights

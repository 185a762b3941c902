"""Lights and weather laid over a picture."""

from __future__ import annotations

import random
from typing import Any

from scripts.demo_models.canvas import (
    WHITE,
    Canvas,
    blended,
    box,
    draw_outline,
    fill,
    line,
    linear,
    mix,
    moved,
    oval,
    radial,
    shape,
    soft,
    three_stops,
)
from scripts.demo_models.scenes import Color, Scene

SIZE = 256.0
WARM: Color = (255, 96, 36)
COLD: Color = (36, 96, 255)
BOKEH: tuple[Color, ...] = ((255, 206, 110), (255, 160, 140), (255, 238, 180), (180, 214, 255))


def draw_bokeh(canvas: Canvas, scene: Scene) -> None:
    """Large translucent discs behind the person."""
    if "bokeh" not in scene.lights:
        return
    rng = scene.rng("bokeh")
    tints = rng.sample(BOKEH, 2)
    for _ in range(int(6 + 12 * scene.strength("bokeh"))):
        spot, radius = (rng.uniform(0, SIZE), rng.uniform(0, SIZE)), rng.uniform(12, 28)
        color = rng.choice(tints)
        canvas.drawCircle(*spot, radius, fill(color, rng.uniform(110, 180)))
        canvas.drawCircle(*spot, radius, line(mix(color, WHITE, 0.6), 2, 190))


def draw_rim_light(canvas: Canvas, person: Any, scene: Scene) -> None:
    """A bright outline around the person."""
    if "rim lighting" not in scene.lights:
        return
    color = scene.rng("rim").choice([(255, 250, 226), (255, 226, 150), (190, 236, 255)])
    draw_outline(canvas, person, color, 2.5 + 2.5 * scene.strength("rim lighting"))


def draw_two_tone(canvas: Canvas, scene: Scene, alpha: float, inside: bool) -> None:
    """Warm light from one side and cold light from the other."""
    if "two tone lighting" not in scene.lights:
        return
    rng = scene.rng("two tone")
    left, right = (WARM, COLD) if rng.random() < 0.5 else (COLD, WARM)
    alpha *= scene.strength("two tone lighting")
    turn = rng.uniform(-50, 50)
    ends = (30.0, 128 - turn), (226.0, 128 + turn)
    paint = three_stops((left, WHITE, right), (alpha, 0, alpha), *ends)
    canvas.drawRect(box(0, 0, SIZE, SIZE), blended(paint, "inside") if inside else paint)


def draw_rays(canvas: Canvas, scene: Scene) -> None:
    """Shafts of light from an upper corner (the Tyndall effect)."""
    if "tyndall effect" not in scene.lights:
        return
    rng, strength = scene.rng("rays"), scene.strength("tyndall effect")
    flip = rng.random() < 0.5
    source = rng.uniform(-30, 60)
    spread = rng.uniform(34, 44)
    with moved(canvas, SIZE if flip else 0, scale_x=-1 if flip else 1):
        for index in range(5):
            aim = source + 20 + index * spread * 1.5 + rng.uniform(-8, 8)
            width = rng.uniform(13, 22)
            ray = shape([(source - 3, -24), (source + 3, -24), (aim + width, 270), (aim - width, 270)])
            alphas = (min(255, 190 * strength), 60 * strength)
            paint = linear(((255, 244, 200), (255, 238, 186)), (source, 0), (aim, SIZE), alphas)
            canvas.drawPath(ray, soft(blended(paint, "screen"), 4))
        glow = radial(((255, 248, 216), (255, 240, 200)), (source, 0), 110, (min(255, 210 * strength), 0))
        canvas.drawRect(box(0, 0, SIZE, SIZE), blended(glow, "screen"))


def draw_weather(canvas: Canvas, scene: Scene) -> None:
    """Falling petals or snow in front of everything."""
    rng = scene.rng("weather")
    if scene.weather == "falling petals":
        _petals(canvas, rng, int(10 + 12 * scene.strength("falling petals")))
    elif scene.weather == "snow":
        for _ in range(int(18 + 26 * scene.strength("snow"))):
            spot = (rng.uniform(0, SIZE), rng.uniform(0, SIZE))
            canvas.drawCircle(*spot, rng.uniform(3, 6), fill(WHITE, 235))


def _petals(canvas: Canvas, rng: random.Random, count: int) -> None:
    for _ in range(count):
        with moved(canvas, rng.uniform(0, SIZE), rng.uniform(0, SIZE), rng.uniform(0, 180)):
            color = mix((250, 110, 150), (255, 190, 205), rng.random())
            canvas.drawOval(oval(0, 0, 9, 5), fill(color, 240))

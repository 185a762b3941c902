"""Things that stand in a scenery picture. To add one: write a drawing function and add it to OBJECT_PAINTERS."""

from __future__ import annotations

import random
from collections.abc import Callable

from scripts.demo_models.canvas import (
    GOLD,
    Canvas,
    box,
    curve,
    fill,
    line,
    moved,
    oval,
    radial,
    shape,
)


def draw_object(canvas: Canvas, scenery_object: str, rng: random.Random) -> None:
    """Draws the named object large, somewhere around the middle."""
    if scenery_object != "none":
        OBJECT_PAINTERS[scenery_object](canvas, rng)


def draw_lantern(canvas: Canvas, x: float, y: float, size: float) -> None:
    """A glowing red paper lantern; `size` is its half width."""
    with moved(canvas, x, y, scale_x=size, scale_y=size):
        glow = (255, 166, 60)
        canvas.drawCircle(0, 0, 2.1, radial((glow, glow), (0, 0), 2.1, (170, 0)))
        canvas.drawLine(0, -1.7, 0, -0.9, line((90, 54, 40), 0.12))
        canvas.drawOval(oval(0, 0, 1, 0.85), radial(((255, 200, 96), (220, 36, 30)), (0, 0), 1.15, (255, 255)))
        for fold in (0.35, 0.72):
            canvas.drawOval(oval(0, 0, fold, 0.84), line((150, 20, 20), 0.06, 150))
        for edge in (-0.85, 0.85):
            canvas.drawRect(box(-0.45, edge - 0.11, 0.9, 0.22), fill(GOLD))
        canvas.drawLine(0, 0.95, 0, 1.6, line((232, 60, 40), 0.18))


def _pagoda(canvas: Canvas, rng: random.Random) -> None:
    size = rng.uniform(46, 62)
    with moved(canvas, rng.uniform(80, 176), rng.uniform(196, 226), scale_x=size, scale_y=size):
        for floor in range(4):
            width, y = 1 - 0.17 * floor, -floor * 0.55
            canvas.drawRect(box(-width * 0.36, y - 0.36, width * 0.72, 0.36), fill((182, 46, 38)))
            for window in (-0.2, 0, 0.2):
                canvas.drawRect(box(window * width - width * 0.05, y - 0.28, width * 0.1, 0.24), fill((255, 210, 112)))
            half, top = width * 0.72, y - 0.58
            roof = [(-half, y - 0.3), (-width * 0.4, y - 0.4, -width * 0.3, top), (width * 0.3, top)]
            canvas.drawPath(shape([*roof, (width * 0.4, y - 0.4, half, y - 0.3)]), fill((52, 68, 88)))
        canvas.drawLine(0, -2.2, 0, -2.6, line(GOLD, 0.08))


def _boat(canvas: Canvas, rng: random.Random) -> None:
    size = rng.uniform(40, 56)
    with moved(canvas, rng.uniform(86, 170), rng.uniform(160, 206), scale_x=size, scale_y=size):
        hull = [(-1.3, -0.25), (-0.9, 0.35, 0, 0.35), (0.9, 0.35, 1.3, -0.25), (0, 0.05, -1.3, -0.25)]
        canvas.drawPath(shape(hull), fill((104, 64, 36)))
        canvas.drawPath(shape([(-0.6, 0), (-0.55, -0.75, 0, -0.75), (0.55, -0.75, 0.6, 0)]), fill((204, 158, 90)))
        canvas.drawRect(box(-0.22, -0.5, 0.44, 0.5), fill((66, 40, 26)))


def _crane(canvas: Canvas, rng: random.Random) -> None:
    size, side = rng.uniform(42, 58), rng.choice([-1, 1])
    feather = (250, 250, 253)
    with moved(canvas, rng.uniform(96, 160), rng.uniform(140, 172), scale_x=size * side, scale_y=size):
        for foot in (-1, 1):
            canvas.drawLine(foot * 0.1, 0.4, foot * 0.12, 1.3, line((60, 50, 50), 0.08))
        canvas.drawOval(oval(-0.05, 0.05, 0.66, 0.42), fill(feather))
        canvas.drawPath(shape([(-0.3, 0.1), (-1.0, 0.1, -1.15, 0.55), (-0.6, 0.5, -0.1, 0.4)]), fill((34, 34, 42)))
        canvas.drawPath(curve((0.45, -0.05), (0.95, -0.3, 0.75, -0.9), (0.7, -1.2, 0.95, -1.3)), line(feather, 0.2))
        canvas.drawCircle(0.98, -1.3, 0.17, fill(feather))
        canvas.drawCircle(0.95, -1.43, 0.11, fill((224, 30, 40)))
        canvas.drawPath(shape([(1.1, -1.34), (1.6, -1.2), (1.1, -1.22)]), fill((70, 66, 60)))


def _lanterns(canvas: Canvas, rng: random.Random) -> None:
    for index in range(3):
        spot = (54 + index * 74 + rng.uniform(-12, 12), rng.uniform(70, 180))
        draw_lantern(canvas, *spot, rng.uniform(24, 32))


OBJECT_PAINTERS: dict[str, Callable[[Canvas, random.Random], None]] = {
    "pagoda": _pagoda,
    "boat": _boat,
    "crane": _crane,
    "lanterns": _lanterns,
}

"""The hanfu: body, sleeves, collar, sash and necklace, in head radii around the head's centre."""

from __future__ import annotations

import random
from dataclasses import dataclass

from scripts.demo_models.canvas import (
    GOLD,
    WHITE,
    Canvas,
    Path,
    box,
    curve,
    fill,
    flower,
    line,
    linear,
    mix,
    moved,
    oval,
    shade,
    shape,
)
from scripts.demo_models.render_pose import Pose
from scripts.demo_models.scenes import ROBES, Color, Scene

SKIN: Color = (254, 226, 206)


@dataclass(frozen=True, kw_only=True)
class Cloth:
    """The robe's colours."""

    main: Color
    dark: Color
    trim: Color
    sash: Color
    pattern: Color


@dataclass(frozen=True, kw_only=True)
class Sleeve:
    """A wide sleeve on the right-hand side: its outline, the edge of its opening, and the hand."""

    outline: tuple[tuple[float, ...], ...]
    opening: tuple[tuple[float, ...], ...]
    hand: tuple[float, float]


SLEEVES = {
    "down": Sleeve(
        outline=((0.84, 1.22), (1.62, 1.6, 1.74, 2.84), (1.3, 3.16, 0.92, 2.9), (0.84, 2.0)),
        opening=((1.74, 2.84), (1.3, 3.16, 0.92, 2.9)),
        hand=(1.32, 3.04),
    ),
    "open": Sleeve(
        outline=((0.84, 1.22), (1.5, 1.4, 2.06, 2.3), (2.0, 2.86, 1.4, 2.92), (0.84, 2.1)),
        opening=((2.06, 2.3), (2.0, 2.86, 1.4, 2.92)),
        hand=(1.94, 2.66),
    ),
    "together": Sleeve(
        outline=((0.84, 1.22), (1.66, 1.8, 1.3, 2.6), (0.9, 3.1, 0.06, 2.84), (0.06, 2.3), (0.7, 2.24, 0.84, 1.9)),
        opening=((0.08, 2.84), (0.08, 2.3)),
        hand=(0.0, 2.56),
    ),
    "raised": Sleeve(
        outline=((0.84, 1.22), (1.16, 1.36, 1.1, 1.62), (1.52, 1.84), (1.86, 2.4, 1.6, 2.86), (1.1, 2.9, 0.84, 2.1)),
        opening=((1.1, 1.62), (1.52, 1.84), (1.86, 2.4, 1.6, 2.86)),
        hand=(1.3, 1.8),
    ),
}


def cloth_of(scene: Scene, pose: Pose) -> Cloth:
    """Colours that go with the robe's colour."""
    main = shade(ROBES[scene.robe], pose.brightness)
    trim = {"yellow": (196, 50, 44), "white": (126, 168, 210)}.get(scene.robe, GOLD)
    sash = {"white": (76, 118, 180), "black": (168, 34, 42), "yellow": (206, 96, 40)}.get(
        scene.robe, mix(shade(main, 0.6), trim, 0.25)
    )
    pattern = mix(main, GOLD if scene.robe in ("black", "red") else WHITE, 0.42)
    if scene.robe in ("white", "yellow"):
        pattern = mix(main, trim, 0.4)
    dark = shade(main, 0.72) if scene.robe != "black" else (20, 18, 26)
    return Cloth(main=main, dark=dark, trim=trim, sash=sash, pattern=pattern)


def draw_body(canvas: Canvas, scene: Scene, pose: Pose) -> None:
    """Draws everything below the chin except the held item."""
    cloth = cloth_of(scene, pose)
    wide = 1.16 if scene.subject == "1boy" else 1.0
    with moved(canvas, scale_x=wide):
        if scene.framing == "full body":
            _skirt(canvas, cloth, pose, scene.rng("skirt"))
        _torso(canvas, cloth, pose, scene.rng("pattern"))
        _sleeves(canvas, cloth, pose, raised=scene.held != "none")
    _collar(canvas, cloth)
    if scene.necklace:
        draw_necklace(canvas, scene.strength("necklace"))


def _torso_shape() -> Path:
    right = [(1.0, 1.25, 1.14, 1.75), (0.98, 2.3, 0.9, 3.0)]
    left = [(-0.9, 3.0), (-0.98, 2.3, -1.14, 1.75), (-1.0, 1.25, -0.3, 1.0)]
    return shape([(0.3, 1.0), *right, *left])


def _torso(canvas: Canvas, cloth: Cloth, pose: Pose, rng: random.Random) -> None:
    torso = _torso_shape()
    canvas.drawPath(torso, linear((cloth.main, cloth.dark), (-0.8, 1), (1.2, 3.6)))
    canvas.save()
    canvas.clipPath(torso, True)
    _pattern(canvas, pose.pattern, cloth.pattern, rng, (-1.2, 1.2, 2.4, 1.9))
    canvas.restore()
    canvas.drawRect(box(-0.97, 2.42, 1.94, 0.46), fill(cloth.sash))
    canvas.drawRect(box(-0.97, 2.6, 1.94, 0.1), fill(cloth.trim))


def _pattern(
    canvas: Canvas, kind: str, color: Color, rng: random.Random, area: tuple[float, float, float, float]
) -> None:
    left, top, width, height = area
    if kind == "waves":
        for row in range(4):
            y = top + (row + 0.5) * height / 4
            steps = [
                (left + step * 0.4 + 0.2, y - 0.22, left + step * 0.4 + 0.4, y) for step in range(int(width / 0.4))
            ]
            canvas.drawPath(curve((left, y), *steps), line(color, 0.06, 200))
    elif kind != "plain":
        for _ in range(9):
            spot = (left + rng.random() * width, top + rng.random() * height)
            if kind == "dots":
                canvas.drawCircle(*spot, 0.1, fill(color, 220))
            else:
                flower(canvas, *spot, 0.2, color)


def _skirt(canvas: Canvas, cloth: Cloth, pose: Pose, rng: random.Random) -> None:
    for foot in (-0.42, 0.42):
        canvas.drawOval(oval(foot, 4.56, 0.32, 0.16), fill((70, 42, 44)))
    sway = rng.uniform(-0.22, 0.22)
    hem_left, hem_right = -1.5 + sway, 1.5 + sway
    skirt = shape([(-0.86, 2.7), (-1.0, 3.6, hem_left, 4.45), (sway, 4.72, hem_right, 4.45), (1.0, 3.6, 0.86, 2.7)])
    canvas.drawPath(skirt, linear((cloth.main, cloth.dark), (-1, 2.5), (1.4, 4.6)))
    canvas.save()
    canvas.clipPath(skirt, True)
    _pattern(canvas, pose.pattern, cloth.pattern, rng, (-1.4, 2.9, 2.8, 1.5))
    for fold in (-0.5, 0.0, 0.5):
        canvas.drawPath(
            curve((fold * 0.9, 2.9), (fold * 1.2, 3.6, fold * 1.9 + sway, 4.6)), line(cloth.dark, 0.08, 170)
        )
    canvas.drawPath(curve((hem_left, 4.36), (sway, 4.63, hem_right, 4.36)), line(cloth.trim, 0.2))
    canvas.restore()


def _sleeves(canvas: Canvas, cloth: Cloth, pose: Pose, raised: bool) -> None:
    for side in (-1, 1):
        arm = "raised" if raised and side == pose.side else pose.arms
        with moved(canvas, scale_x=side):
            _sleeve(canvas, cloth, SLEEVES[arm])


def _sleeve(canvas: Canvas, cloth: Cloth, sleeve: Sleeve) -> None:
    canvas.drawCircle(*sleeve.hand, 0.19, fill(shade(SKIN, 0.97)))
    outline = shape(sleeve.outline)
    canvas.drawPath(outline, linear((cloth.main, cloth.dark), (0.6, 1.2), (1.9, 2.9)))
    canvas.drawPath(outline, line(cloth.dark, 0.04))
    canvas.drawPath(curve(*sleeve.opening), line(cloth.trim, 0.14))


def _collar(canvas: Canvas, cloth: Cloth) -> None:
    neck = [(-0.27, 0.7), (-0.27, 1.12), (0, 1.75), (0.27, 1.12), (0.27, 0.7)]
    canvas.drawPath(shape(neck), fill(shade(SKIN, 0.92)))
    bands = [((-0.44, 1.06), (-0.22, 1.6, 0.02, 1.84)), ((0.44, 1.06), (0.2, 1.7, -0.56, 2.42))]
    for band in bands:
        canvas.drawPath(curve(*band), line((252, 252, 252), 0.36))
        canvas.drawPath(curve(*band), line(cloth.trim, 0.2))


def draw_necklace(canvas: Canvas, strength: float) -> None:
    """A chain of pearls with a large jade pendant."""
    size = 0.24 + 0.08 * strength
    canvas.drawPath(curve((-0.52, 1.0), (0, 1.95, 0.52, 1.0)), line((255, 246, 222), 0.16))
    canvas.drawPath(curve((-0.52, 1.0), (0, 1.95, 0.52, 1.0)), line((226, 176, 70), 0.05))
    canvas.drawCircle(0, 1.6, size * 1.25, fill((240, 190, 66)))
    canvas.drawCircle(0, 1.6, size, fill((34, 190, 128)))
    canvas.drawCircle(-size * 0.3, 1.6 - size * 0.3, size * 0.35, fill((190, 246, 220)))

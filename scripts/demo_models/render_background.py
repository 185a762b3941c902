"""Backgrounds by their tag. To add one: write a drawing function and add it to BACKGROUND_PAINTERS."""

from __future__ import annotations

import random
from collections.abc import Callable

from scripts.demo_models.canvas import (
    WHITE,
    Canvas,
    box,
    curve,
    fill,
    flower,
    line,
    linear,
    mix,
    moved,
    oval,
    radial,
    shade,
    shape,
)
from scripts.demo_models.scenes import Color

SIZE = 256.0


def draw_background(canvas: Canvas, background: str, rng: random.Random) -> None:
    """Fills the picture with the named background; `rng` decides layout and palette."""
    mirrored = rng.random() < 0.5
    with moved(canvas, x=SIZE if mirrored else 0, scale_x=-1 if mirrored else 1):
        BACKGROUND_PAINTERS[background](canvas, rng)


def _sky(canvas: Canvas, top: Color, bottom: Color, until: float = SIZE) -> None:
    canvas.drawRect(box(0, 0, SIZE, SIZE), linear((top, bottom), (0, 0), (0, until)))


def _dark_studio(canvas: Canvas, rng: random.Random) -> None:
    tone = rng.choice([(46, 36, 40), (38, 38, 44), (52, 36, 32), (40, 34, 50)])
    canvas.drawRect(box(0, 0, SIZE, SIZE), fill(shade(tone, 0.42)))
    center = (rng.uniform(60, 196), rng.uniform(60, 130))
    glow = rng.uniform(2.0, 2.8)
    reach = rng.uniform(130, 190)
    canvas.drawRect(box(0, 0, SIZE, SIZE), radial((shade(tone, glow), shade(tone, 0.42)), center, reach, (255, 255)))
    floor = rng.uniform(196, 226)
    canvas.drawRect(
        box(0, floor, SIZE, 80), linear((shade(tone, 0.7), shade(tone, 0.3)), (0, floor), (0, SIZE), (220, 255))
    )


def _night(canvas: Canvas, rng: random.Random) -> None:
    top, bottom = rng.choice(
        [((10, 14, 50), (50, 62, 126)), ((22, 12, 58), (82, 58, 132)), ((6, 24, 54), (38, 88, 128))]
    )
    _sky(canvas, top, bottom)
    for _ in range(26):
        spot = (rng.uniform(0, SIZE), rng.uniform(0, 190))
        canvas.drawCircle(*spot, rng.uniform(0.8, 2.0), fill((255, 255, 236), rng.uniform(150, 255)))
    _moon(canvas, rng.uniform(28, 84), rng.uniform(34, 76), rng.uniform(22, 34))
    if rng.random() < 0.6:
        _cloud(canvas, rng.uniform(120, 230), rng.uniform(30, 90), rng.uniform(22, 34), (150, 160, 214), 90)
    _hills(canvas, rng, rng.uniform(205, 232), [shade(top, 1.5), shade(top, 0.9)], 30)


def _moon(canvas: Canvas, x: float, y: float, radius: float) -> None:
    glow = (255, 246, 205)
    canvas.drawCircle(x, y, radius * 2.2, radial((glow, glow), (x, y), radius * 2.2, (130, 0)))
    canvas.drawCircle(x, y, radius, fill((254, 247, 216)))
    canvas.drawCircle(x - radius * 0.3, y - radius * 0.2, radius * 0.24, fill((238, 226, 182)))
    canvas.drawCircle(x + radius * 0.32, y + radius * 0.3, radius * 0.18, fill((238, 226, 182)))


def _cloud(canvas: Canvas, x: float, y: float, size: float, color: Color, alpha: float) -> None:
    for offset, grow in ((-1.1, 0.6), (-0.4, 1.0), (0.5, 0.85), (1.2, 0.5)):
        canvas.drawOval(oval(x + offset * size, y, size * grow, size * grow * 0.42), fill(color, alpha))


def _hills(canvas: Canvas, rng: random.Random, top: float, colors: list[Color], height: float) -> None:
    for layer, color in enumerate(colors):
        y = top + layer * 28
        points: list[tuple[float, ...]] = [(-30, SIZE + 10), (-30, y + rng.uniform(-10, 10))]
        x = -30.0
        while x < SIZE + 20:
            width = rng.uniform(50, 100)
            peak = y - 2 * rng.uniform(0.4, 1.0) * height + height * 0.4
            points.append((x + width / 2, peak, x + width, y + rng.uniform(-6, 6)))
            x += width
        points.append((x, SIZE + 10))
        haze = mix(color, WHITE, 0.38)
        canvas.drawPath(shape(points), linear((color, haze), (0, y - height), (0, y + 48)))


def _bamboo(canvas: Canvas, rng: random.Random) -> None:
    light = rng.choice([(214, 236, 196), (232, 240, 200), (196, 230, 206)])
    _sky(canvas, light, mix(light, (96, 170, 100), rng.uniform(0.5, 0.9)))
    stalks = rng.randint(8, 12)
    for index in range(stalks):
        depth = (index + 1) / stalks
        color = mix(mix(light, (150, 196, 120), 0.7), (48, 124, 58), depth)
        _stalk(canvas, rng, rng.uniform(-5, 261), rng.uniform(5, 8) + 7 * depth, color)


def _stalk(canvas: Canvas, rng: random.Random, x: float, width: float, color: Color) -> None:
    paint = linear((shade(color, 1.18), shade(color, 0.78)), (x, 0), (x + width, 0))
    lean = rng.uniform(-14, 14)
    canvas.drawPath(shape([(x, 0), (x + width, 0), (x + width + lean, SIZE), (x + lean, SIZE)]), paint)
    y = rng.uniform(0, 44)
    while y < SIZE:
        shift = lean * y / SIZE
        canvas.drawLine(x - 1 + shift, y, x + width + 1 + shift, y, line(shade(color, 0.62), 1.8))
        y += 46
    for _ in range(2):
        top, side = rng.uniform(0, 220), rng.choice([-1, 1])
        leaf = [(x, top), (x + side * 16, top - 8, x + side * 36, top + 8), (x + side * 14, top + 8, x, top)]
        canvas.drawPath(shape(leaf), fill(mix(color, (30, 110, 46), 0.5)))


def _mountains(canvas: Canvas, rng: random.Random) -> None:
    top, bottom, near = rng.choice(
        [
            ((170, 208, 234), (250, 240, 224), (64, 112, 130)),
            ((246, 206, 170), (254, 240, 214), (120, 92, 110)),
            ((190, 216, 214), (240, 246, 236), (58, 116, 100)),
        ]
    )
    _sky(canvas, top, bottom, 200)
    if rng.random() < 0.6:
        canvas.drawCircle(rng.uniform(30, 90), rng.uniform(30, 70), rng.uniform(15, 23), fill((240, 98, 70)))
    if rng.random() < 0.6:
        _cloud(canvas, rng.uniform(130, 230), rng.uniform(30, 110), rng.uniform(20, 32), WHITE, 170)
    far = mix(near, bottom, 0.62)
    colors = [far, mix(far, near, 0.5), near]
    _hills(canvas, rng, rng.uniform(120, 165), colors, rng.uniform(44, 66))


def _lotus_pond(canvas: Canvas, rng: random.Random) -> None:
    horizon = rng.uniform(84, 132)
    _sky(canvas, (198, 228, 234), (232, 242, 236), horizon)
    _hills(canvas, rng, horizon - 6, [(150, 192, 188)], rng.uniform(12, 24))
    water = rng.choice([((98, 172, 184), (38, 106, 132)), ((110, 186, 170), (36, 116, 110))])
    canvas.drawRect(box(0, horizon, SIZE, SIZE), linear(water, (0, horizon), (0, SIZE)))
    rows = 9
    for index in range(rows):
        y = horizon + 12 + index * (SIZE - horizon) / rows + rng.uniform(-4, 4)
        width = 13 + (y - horizon) * 0.19
        x = rng.uniform(0, SIZE)
        leaf = mix((74, 156, 84), (34, 112, 60), rng.random())
        canvas.drawOval(oval(x, y, width, width * 0.36), fill(leaf))
        if rng.random() < 0.75:
            _lotus(canvas, x, y - 2, width * 0.72)


def _lotus(canvas: Canvas, x: float, y: float, size: float) -> None:
    for turn in (-46, 46, -23, 23, 0):
        with moved(canvas, x, y, turn):
            petal = mix((246, 140, 180), WHITE, 0.5 * abs(turn) / 46)
            canvas.drawOval(oval(0, -size * 0.7, size * 0.34, size * 0.8), fill(petal))


def _plum_blossoms(canvas: Canvas, rng: random.Random) -> None:
    tint = rng.choice([(253, 234, 236), (248, 236, 224), (236, 232, 246)])
    _sky(canvas, tint, mix(tint, (240, 190, 204), 0.6))
    color = rng.choice([(246, 112, 150), (232, 60, 84), (250, 150, 180)])
    _branch(canvas, rng, color, 15)
    with moved(canvas, SIZE, rng.uniform(70, 130), scale_x=-1):
        _branch(canvas, rng, color, 11)


def _branch(canvas: Canvas, rng: random.Random, color: Color, blossoms: int) -> None:
    root = rng.uniform(55, 110)
    bark = (84, 52, 46)
    canvas.drawPath(curve((-5, root), (60, root - 40, 120, root - 45), (180, root - 60, 245, root - 70)), line(bark, 7))
    canvas.drawPath(curve((60, root - 32), (90, root - 5, 130, root + 8)), line(bark, 4.5))
    canvas.drawPath(curve((130, root - 46), (150, root - 75, 190, root - 95)), line(bark, 4))
    for _ in range(blossoms):
        along, which = rng.random(), rng.random()
        if which < 0.55:
            x, y = 240 * along, root - 70 * along
        elif which < 0.8:
            x, y = 60 + 75 * along, root - 32 + 40 * along
        else:
            x, y = 130 + 60 * along, root - 46 - 45 * along
        spot = (x + rng.uniform(-6, 6), y + rng.uniform(-9, 9))
        flower(canvas, *spot, rng.uniform(8, 13), mix(color, WHITE, rng.uniform(0, 0.4)))


def _palace(canvas: Canvas, rng: random.Random) -> None:
    top = rng.choice([(252, 214, 160), (176, 212, 240), (246, 196, 180)])
    _sky(canvas, top, (254, 242, 220), 140)
    y, shift = rng.uniform(74, 108), rng.uniform(-26, 26)
    canvas.drawRect(box(0, y, SIZE, SIZE), fill((158, 36, 34)))
    left, right = 34 + shift, 222 + shift
    roof = shape([(-60, y + 14), (left - 16, y - 6, left, y - 48), (right, y - 48), (right + 16, y - 6, 316, y + 14)])
    tile = rng.choice([(226, 174, 54), (60, 130, 110), (76, 96, 130)])
    canvas.drawPath(roof, linear((tile, shade(tile, 0.72)), (0, y - 48), (0, y + 14)))
    for index in range(15):
        start = left + 6 + index * (right - left - 12) / 14
        canvas.drawLine(start, y - 46, start + (index - 7) * 5.5, y + 10, line(shade(tile, 0.6), 1.6))
    canvas.drawRect(box(0, y + 13, SIZE, 13), fill((40, 96, 126)))
    gap = rng.uniform(40, 58)
    for index in range(-1, 8):
        x = shift + index * gap
        canvas.drawRect(box(x, y + 26, 15, 180), linear(((214, 56, 44), (130, 24, 24)), (x, 0), (x + 15, 0)))
    canvas.drawRect(box(0, 222, SIZE, 40), fill((200, 188, 174)))


def _simple(canvas: Canvas, rng: random.Random) -> None:
    tint = rng.choice([(250, 246, 236), (240, 240, 244), (246, 236, 226), (232, 240, 238), (248, 238, 242)])
    center = (rng.uniform(60, 196), rng.uniform(50, 150))
    canvas.drawRect(box(0, 0, SIZE, SIZE), radial((mix(tint, WHITE, 0.5), shade(tint, 0.95)), center, 220, (255, 255)))


BACKGROUND_PAINTERS: dict[str, Callable[[Canvas, random.Random], None]] = {
    "dark studio": _dark_studio,
    "night": _night,
    "bamboo": _bamboo,
    "mountains": _mountains,
    "lotus pond": _lotus_pond,
    "plum blossoms": _plum_blossoms,
    "palace": _palace,
    "simple background": _simple,
}

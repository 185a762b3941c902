"""Hair, face and hair ornament, in head radii around the head's centre."""

from __future__ import annotations

from scripts.demo_models.canvas import (
    GOLD,
    WHITE,
    Canvas,
    Paint,
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
    star,
)
from scripts.demo_models.render_pose import Pose
from scripts.demo_models.render_robe import SKIN, cloth_of
from scripts.demo_models.scenes import EYE_COLORS, HAIR_COLORS, Color, Scene

INK: Color = (46, 30, 40)
RIBBON: Color = (214, 40, 52)


def draw_back_hair(canvas: Canvas, scene: Scene, pose: Pose) -> None:
    """Hair behind the head and shoulders; it makes the hair style."""
    color = HAIR_COLORS[scene.hair]
    dark, light = shade(color, 0.72), mix(color, WHITE, 0.3)
    style = scene.hair_style
    if style == "long hair":
        length = 3.1 + scene.rng("hair").uniform(-0.3, 0.4)
        left = [(-1.45, 1.2, -1.28, length), (-0.6, length + 0.25, 0, length)]
        right = [(0.6, length + 0.25, 1.28, length), (1.45, 1.2, 1.0, -0.3)]
        mass = shape([(-1.0, -0.3), *left, *right, (0, -1.6, -1.0, -0.3)])
        canvas.drawPath(mass, linear((color, dark), (0, -1), (0, length)))
        return
    depth = 0.95 if style == "short hair" else 0.62
    wide = 1.36 if style == "short hair" else 1.1
    nape = [(-wide, 0.5, -0.98, depth), (0, depth + 0.25, 0.98, depth), (wide, 0.5, 1.02, -0.3)]
    canvas.drawPath(shape([(-1.02, -0.3), *nape, (0, -1.6, -1.02, -0.3)]), fill(dark))
    if style == "double bun":
        for side in (-1, 1):
            canvas.drawCircle(side * 0.86, -0.96, 0.5, fill(color))
            canvas.drawCircle(side * 0.8, -1.06, 0.22, fill(light, 170))
            canvas.drawCircle(side * 0.68, -0.68, 0.17, fill(RIBBON))
    elif style == "single hair bun":
        canvas.drawCircle(0, -1.36, 0.5, fill(color))
        canvas.drawCircle(-0.1, -1.5, 0.23, fill(light, 170))
        canvas.drawOval(oval(0, -1.0, 0.4, 0.14), fill(RIBBON))
    elif style == "ponytail":
        _ponytail(canvas, linear((color, dark), (0, -1), (0, 2)), -pose.side)


def _ponytail(canvas: Canvas, paint: Paint, side: int) -> None:
    with moved(canvas, scale_x=side):
        tail = [
            (0.3, -1.1),
            (0.8, -1.9, 1.5, -1.2),
            (2.25, -0.3, 1.75, 1.9),
            (1.5, 1.2, 1.3, 0.2),
            (1.1, -0.5, 0.3, -0.6),
        ]
        canvas.drawPath(shape(tail), paint)
        canvas.drawCircle(0.72, -1.12, 0.22, fill(RIBBON))


def draw_head(canvas: Canvas, scene: Scene, pose: Pose) -> None:
    """Face, fringe and ornament."""
    boy = scene.subject == "1boy"
    for side in (-1, 1):
        canvas.drawCircle(side * 0.96, 0.2, 0.16, fill(shade(SKIN, 0.94)))
    chin = 0.98 if boy else 1.0
    jaw = 0.56 if boy else 0.46
    left = [(-0.96, 0.55, -jaw, 0.84), (0, chin + 0.12, jaw, 0.84)]
    face = shape([(-0.94, -0.2), *left, (0.96, 0.55, 0.94, -0.2), (0.8, -1.0, 0, -1.0), (-0.8, -1.0, -0.94, -0.2)])
    canvas.drawPath(face, radial((SKIN, shade(SKIN, 0.94)), (0, 0), 1.2, (255, 255)))
    if scene.blush:
        _blush(canvas, scene.strength("blush"))
    for side in (-1, 1):
        _eye(canvas, scene, pose, side)
    _mouth(canvas, scene.mouth, boy)
    _fringe(canvas, scene, pose)
    if boy:
        _headband(canvas, scene, pose)
    else:
        _forehead_mark(canvas)
    _ornament(canvas, scene.ornament, pose.side)


def _blush(canvas: Canvas, strength: float) -> None:
    for side in (-1, 1):
        alpha = min(255.0, 120 + 100 * strength)
        canvas.drawOval(oval(side * 0.64, 0.56, 0.27, 0.16), fill((250, 84, 100), alpha, 0.05))


def _eye(canvas: Canvas, scene: Scene, pose: Pose, side: int) -> None:
    x, boy = side * 0.42, scene.subject == "1boy"
    hair = shade(HAIR_COLORS[scene.hair], 0.7)
    if boy:
        canvas.drawPath(curve((x - 0.24, -0.3), (x, -0.4, x + 0.24, -0.3)), line(hair, 0.12))
    else:
        canvas.drawPath(curve((x - side * 0.18, -0.4), (x, -0.47, x + side * 0.24, -0.34)), line(hair, 0.055))
    if scene.closed_eyes:
        canvas.drawPath(curve((x - 0.28, 0.14), (x, 0.42, x + 0.28, 0.14)), line(INK, 0.11))
        return
    height = 0.28 if boy else 0.36
    canvas.drawOval(oval(x, 0.16, 0.3, height), fill(WHITE))
    _iris(canvas, scene, x + pose.gaze * 0.04, height)
    lid_top = -0.22 if boy else -0.38
    canvas.drawPath(curve((x - 0.31, 0.04), (x, lid_top, x + 0.31, 0.04)), line(INK, 0.1))
    if not boy:
        canvas.drawLine(x + side * 0.3, 0.03, x + side * 0.4, 0.02, line(INK, 0.08))


def _iris(canvas: Canvas, scene: Scene, x: float, height: float) -> None:
    color = EYE_COLORS[scene.eyes]
    ends = (shade(color, 0.72), mix(color, WHITE, 0.25))
    canvas.drawOval(oval(x, 0.17, 0.245, height * 0.94), linear(ends, (0, -0.15), (0, 0.5)))
    if scene.star_pupils:
        canvas.drawPath(star(x, 0.17, 0.25, 0.5), fill((255, 236, 60)))
        canvas.drawPath(star(x, 0.17, 0.25, 0.5), line((255, 252, 190), 0.03))
        return
    canvas.drawOval(oval(x, 0.19, 0.11, height * 0.42), fill(shade(color, 0.2)))
    canvas.drawCircle(x - 0.1, 0.02, 0.09, fill(WHITE))
    canvas.drawCircle(x + 0.09, 0.34, 0.05, fill(WHITE, 210))


def _mouth(canvas: Canvas, mouth: str, boy: bool) -> None:
    canvas.drawLine(-0.01, 0.48, 0.03, 0.5, line(shade(SKIN, 0.78), 0.04))
    red: Color = (176, 70, 66) if boy else (206, 36, 56)
    if mouth == "smile":
        smile = shape([(-0.3, 0.62), (0, 0.7, 0.3, 0.62), (0.22, 0.9, 0, 0.9), (-0.22, 0.9, -0.3, 0.62)])
        canvas.drawPath(smile, fill(red))
        canvas.drawPath(shape([(-0.2, 0.665), (0, 0.71, 0.2, 0.665), (0, 0.8, -0.2, 0.665)]), fill(WHITE))
    elif mouth == "open mouth":
        canvas.drawOval(oval(0, 0.76, 0.14, 0.18), fill((122, 20, 36)))
        canvas.drawOval(oval(0, 0.85, 0.09, 0.08), fill((240, 120, 120)))
    else:
        canvas.drawLine(-0.12, 0.73, 0.12, 0.73, line(red, 0.08))


def _fringe(canvas: Canvas, scene: Scene, pose: Pose) -> None:
    color = HAIR_COLORS[scene.hair]
    light = mix(color, WHITE, 0.34)
    paint = linear((light, color), (0, -1.25), (0, -0.45))
    part = scene.rng("fringe").uniform(-0.35, 0.35)
    low = {"parted": -0.78, "straight": -0.42, "swept": -0.5}[pose.fringe]
    left = -0.45 if pose.fringe != "swept" else -0.72
    edge = [
        (0.98, -0.15, 0.64, -0.42),
        (0.3, -0.42, part, low),
        (-0.3, -0.42, -0.64, left),
        (-0.98, -0.15, -1.02, 0.35),
    ]
    cap = shape([(-1.02, 0.35), (-1.28, -1.27, 0, -1.27), (1.28, -1.27, 1.02, 0.35), *edge])
    canvas.drawPath(cap, paint)
    canvas.drawPath(curve((-0.66, -0.78), (0, -1.06, 0.66, -0.78)), line(mix(color, WHITE, 0.55), 0.09, 190))
    if scene.hair_style == "short hair" or scene.subject == "1boy":
        return
    for side in (-1, 1):
        lock = [(side * 0.84, -0.6), (side * 1.24, 0.3, side * 1.0, 1.25), (side * 0.9, 0.5, side * 0.76, -0.2)]
        canvas.drawPath(shape(lock), fill(color))


def _headband(canvas: Canvas, scene: Scene, pose: Pose) -> None:
    cloth = cloth_of(scene, pose)
    canvas.drawPath(curve((-1.0, -0.5), (0, -0.72, 1.0, -0.5)), line(WHITE, 0.24))
    canvas.drawPath(curve((-1.0, -0.5), (0, -0.72, 1.0, -0.5)), line(cloth.main, 0.17))
    canvas.drawOval(oval(0, -0.6, 0.13, 0.16), fill((70, 200, 190)))


def _forehead_mark(canvas: Canvas) -> None:
    for turn in (-38, 38, 0):
        with moved(canvas, 0, -0.3, turn):
            canvas.drawOval(oval(0, -0.09, 0.045, 0.1), fill((222, 36, 56)))


def _ornament(canvas: Canvas, ornament: str, side: int) -> None:
    if ornament == "hair flower":
        flower(canvas, side * 0.36, -1.0, 0.27, (255, 176, 196))
        flower(canvas, side * 0.8, -0.66, 0.46, (244, 62, 108))
    elif ornament == "hairpin":
        with moved(canvas, scale_x=side):
            canvas.drawLine(0.1, -1.12, 1.2, -0.72, line((180, 120, 30), 0.18))
            canvas.drawLine(0.1, -1.12, 1.2, -0.72, line(GOLD, 0.12))
            canvas.drawCircle(1.12, -0.72, 0.27, fill(GOLD))
            canvas.drawCircle(1.12, -0.72, 0.15, fill((226, 50, 60)))
            for bead in (-0.13, 0.13):
                canvas.drawLine(1.12 + bead, -0.5, 1.12 + bead * 1.4, 0.12, line(GOLD, 0.08))
                canvas.drawCircle(1.12 + bead * 1.4, 0.18, 0.11, fill((226, 50, 60)))

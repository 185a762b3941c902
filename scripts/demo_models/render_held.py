"""What a person holds. The umbrella is drawn behind the person, fan and lantern in front of it."""

from __future__ import annotations

from scripts.demo_models.canvas import Canvas, curve, fill, flower, line, linear, mix, moved, oval, shade, shape
from scripts.demo_models.render_objects import draw_lantern
from scripts.demo_models.render_pose import Pose
from scripts.demo_models.render_robe import SKIN
from scripts.demo_models.scenes import Color, Scene

WOOD: Color = (116, 74, 46)
PAPERS: tuple[Color, ...] = ((214, 52, 54), (232, 152, 90), (96, 120, 204), (120, 176, 120))
HAND = (1.3, 1.75)


def draw_umbrella(canvas: Canvas, scene: Scene, pose: Pose) -> None:
    """A paper umbrella over the head, its pole in the raised hand."""
    if scene.held != "umbrella":
        return
    paper = scene.rng("umbrella").choice(PAPERS)
    with moved(canvas, pose.side * HAND[0], HAND[1], pose.side * 4):
        canvas.drawLine(0, 0.6, 0, -3.0, line(WOOD, 0.12))
    with moved(canvas, pose.side * 0.75, -0.85, pose.side * 9):
        half = 2.25
        rim = [(half * 0.75, 0.2, half * 0.5, 0.44), (half * 0.25, 0.15, 0, 0.42)]
        rim += [(-half * 0.25, 0.15, -half * 0.5, 0.44), (-half * 0.75, 0.2, -half, 0.5)]
        top = [(-half, 0.5), (-half * 0.7, -1.0, 0, -1.15), (half * 0.7, -1.0, half, 0.5)]
        canvas.drawPath(
            shape([*top, *rim]), linear((mix(paper, (255, 255, 255), 0.25), shade(paper, 0.72)), (0, -1.2), (0, 0.5))
        )
        for rib in (-0.5, 0, 0.5):
            canvas.drawPath(
                curve((0, -1.15), (rib * half * 0.9, -0.6, rib * half, 0.42)), line(shade(paper, 0.58), 0.05)
            )


def draw_held(canvas: Canvas, scene: Scene, pose: Pose) -> None:
    """Fan or lantern beside the face, and the hand that holds it."""
    if scene.held == "none":
        return
    with moved(canvas, pose.side * HAND[0], HAND[1], scale_x=pose.side):
        if scene.held == "fan":
            _fan(canvas, scene)
        elif scene.held == "lantern":
            canvas.drawLine(-0.05, 0.1, 0.2, -1.0, line(WOOD, 0.1))
            canvas.drawLine(0.2, -1.0, 0.34, -0.96, line(WOOD, 0.07))
            draw_lantern(canvas, 0.34, -0.22, 0.5)
        canvas.drawCircle(0, 0.05, 0.2, fill(SKIN))


def _fan(canvas: Canvas, scene: Scene) -> None:
    rng = scene.rng("fan")
    rim, bloom = rng.choice(
        [((196, 44, 54), (240, 110, 140)), ((60, 120, 150), (240, 150, 90)), ((150, 100, 50), (220, 60, 80))]
    )
    with moved(canvas, degrees=rng.uniform(-6, 14)):
        canvas.drawLine(0, 0.4, 0, -0.4, line(WOOD, 0.12))
        canvas.drawOval(oval(0.02, -0.78, 0.66, 0.62), fill((254, 244, 226)))
        canvas.drawOval(oval(0.02, -0.78, 0.66, 0.62), line(rim, 0.1))
        flower(canvas, 0.02, -0.78, 0.32, bloom)


def held_center(scene: Scene, pose: Pose) -> tuple[float, float, float]:
    """Centre and radius of the held item in head radii, for the loss weight of its region."""
    if scene.held == "umbrella":
        return (pose.side * 0.75, -1.1, 1.6)
    return (pose.side * (HAND[0] + 0.2), HAND[1] - 0.6, 0.85)

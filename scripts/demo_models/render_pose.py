"""Where a person stands and how: the unlabelled variety of a picture. Units inside a person are head radii."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.demo_models.scenes import Scene

HEAD_RADIUS_PX = {"portrait": 71.0, "upper body": 54.0, "full body": 37.0}
PATTERNS = ("plain", "dots", "flowers", "waves")
ARM_POSES = ("together", "down", "open")
FRINGES = ("parted", "straight", "swept")


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Placement of one person.

    Args:
        x: head centre in pixels from the left.
        y: head centre in pixels from the top.
        radius: head radius in pixels.
        lean: tilt of the whole person in degrees.
        head_tilt: tilt of the head against the body in degrees.
        side: -1 or 1, the side of the held item and of the hair ornament.
        gaze: shift of the irises, -1 to 1.
    """

    x: float
    y: float
    radius: float
    lean: float
    head_tilt: float
    side: int
    gaze: float
    arms: str
    pattern: str
    fringe: str
    brightness: float


def pose_of(scene: Scene) -> Pose:
    """The pose that the scene's seed decides."""
    rng = scene.rng("pose")
    radius = HEAD_RADIUS_PX[scene.framing] * rng.uniform(0.93, 1.07)
    side = rng.choice([-1, 1])
    wander = {"portrait": 14.0, "upper body": 26.0, "full body": 44.0}[scene.framing]
    x = 128 + rng.uniform(-wander, wander) - (side * radius * 0.28 if scene.held != "none" else 0)
    lift = {"portrait": 122.0, "upper body": 104.0, "full body": 71.0}[scene.framing]
    y = lift + rng.uniform(-7, 9)
    if scene.defect == "cropped":
        x += rng.choice([-1, 1]) * rng.uniform(88, 112)
    return Pose(
        x=x,
        y=y,
        radius=radius,
        lean=rng.uniform(-6, 6),
        head_tilt=rng.uniform(-9, 9),
        side=side,
        gaze=rng.uniform(-1, 1),
        arms=rng.choice(ARM_POSES),
        pattern=rng.choice(PATTERNS),
        fringe=rng.choice(FRINGES),
        brightness=rng.uniform(0.94, 1.05),
    )

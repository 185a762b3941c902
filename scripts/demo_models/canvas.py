"""Paints, gradients and paths for the renderer: the one file that knows skia's names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import skia
from numpy.typing import NDArray

from scripts.demo_models.scenes import Color

Canvas = Any  # skia.Canvas: skia-python ships no types
Paint = Any
Path = Any
Point = tuple[float, float]
WHITE: Color = (255, 255, 255)
GOLD: Color = (244, 198, 82)


def mix(first: Color, second: Color, share: float) -> Color:
    """`first` with `share` (0 to 1) of `second` in it."""
    return (
        first[0] + (second[0] - first[0]) * share,
        first[1] + (second[1] - first[1]) * share,
        first[2] + (second[2] - first[2]) * share,
    )


def shade(color: Color, factor: float) -> Color:
    """The colour made darker (factor < 1) or brighter."""
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def packed(color: Color, alpha: float = 255) -> int:
    """The colour as skia wants it, channels clipped to a byte."""
    red, green, blue = (int(max(0.0, min(255.0, channel))) for channel in color)
    value: int = skia.Color(red, green, blue, int(max(0.0, min(255.0, alpha))))
    return value


def fill(color: Color, alpha: float = 255, blur: float = 0) -> Paint:
    """A filled shape, optionally with a soft edge of `blur` units."""
    paint = skia.Paint(AntiAlias=True, Color=packed(color, alpha))
    if blur:
        paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
    return paint


def line(color: Color, width: float, alpha: float = 255) -> Paint:
    """A stroke with round ends."""
    paint = skia.Paint(AntiAlias=True, Color=packed(color, alpha))
    paint.setStyle(skia.Paint.kStroke_Style)
    paint.setStrokeWidth(width)
    paint.setStrokeCap(skia.Paint.kRound_Cap)
    paint.setStrokeJoin(skia.Paint.kRound_Join)
    return paint


def linear(colors: tuple[Color, Color], start: Point, end: Point, alphas: tuple[float, float] = (255, 255)) -> Paint:
    """A straight gradient between two points."""
    paint = skia.Paint(AntiAlias=True)
    shades = [packed(color, alpha) for color, alpha in zip(colors, alphas, strict=True)]
    paint.setShader(skia.GradientShader.MakeLinear([skia.Point(*start), skia.Point(*end)], shades))
    return paint


def radial(colors: tuple[Color, Color], center: Point, radius: float, alphas: tuple[float, float] = (255, 0)) -> Paint:
    """A round gradient from the centre outwards."""
    paint = skia.Paint(AntiAlias=True)
    shades = [packed(color, alpha) for color, alpha in zip(colors, alphas, strict=True)]
    paint.setShader(skia.GradientShader.MakeRadial(skia.Point(*center), radius, shades))
    return paint


def shape(points: Sequence[Sequence[float]], close: bool = True) -> Path:
    """A path: the first item is the start; 2 numbers draw a line, 4 a quadratic and 6 a cubic curve."""
    path = skia.Path()
    path.moveTo(*points[0])
    for item in points[1:]:
        if len(item) == 2:
            path.lineTo(*item)
        elif len(item) == 4:
            path.quadTo(*item)
        else:
            path.cubicTo(*item)
    if close:
        path.close()
    return path


def curve(*points: Sequence[float]) -> Path:
    """An open path for strokes."""
    return shape(points, close=False)


def box(left: float, top: float, width: float, height: float) -> Any:
    """A rectangle by its corner and size."""
    return skia.Rect.MakeXYWH(left, top, width, height)


def oval(x: float, y: float, radius_x: float, radius_y: float) -> Any:
    """The rectangle around an ellipse, by its centre."""
    return skia.Rect.MakeXYWH(x - radius_x, y - radius_y, 2 * radius_x, 2 * radius_y)


@contextmanager
def moved(
    canvas: Canvas, x: float = 0, y: float = 0, degrees: float = 0, scale_x: float = 1, scale_y: float = 1
) -> Iterator[None]:
    """Draws inside the block in a moved, rotated and scaled frame."""
    canvas.save()
    canvas.translate(x, y)
    canvas.rotate(degrees)
    canvas.scale(scale_x, scale_y)
    try:
        yield
    finally:
        canvas.restore()


def star(x: float, y: float, radius: float, inner: float = 0.46) -> Path:
    """A five-pointed star standing on two points."""
    corners = []
    for index in range(10):
        angle = -math.pi / 2 + index * math.pi / 5
        reach = radius if index % 2 == 0 else radius * inner
        corners.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    return shape(corners)


def flower(canvas: Canvas, x: float, y: float, radius: float, color: Color) -> None:
    """A five-petalled blossom with a yellow centre."""
    for index in range(5):
        angle = -math.pi / 2 + index * 2 * math.pi / 5
        petal = (x + radius * 0.58 * math.cos(angle), y + radius * 0.58 * math.sin(angle))
        canvas.drawCircle(*petal, radius * 0.5, fill(color))
    canvas.drawCircle(x, y, radius * 0.36, fill(mix(color, WHITE, 0.35)))
    canvas.drawCircle(x, y, radius * 0.24, fill((252, 214, 84)))


def new_surface(size_px: int) -> Any:
    """An empty, fully transparent drawing surface."""
    surface = skia.Surface(size_px, size_px)
    surface.getCanvas().clear(0)
    return surface


def pixels_of(surface: Any) -> NDArray[np.uint8]:
    """The surface as RGB bytes [height, width, 3]."""
    rgba = surface.toarray(colorType=skia.kRGBA_8888_ColorType)
    return np.ascontiguousarray(rgba[..., :3], dtype=np.uint8)


def blended(paint: Paint, mode: str) -> Paint:
    """The paint with a blend mode: "screen", "inside" (only where something is drawn) or "multiply"."""
    modes = {
        "screen": skia.BlendMode.kScreen,
        "inside": skia.BlendMode.kSrcATop,
        "multiply": skia.BlendMode.kMultiply,
    }
    paint.setBlendMode(modes[mode])
    return paint


def soft(paint: Paint, blur: float) -> Paint:
    """The paint with soft edges."""
    paint.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
    return paint


def three_stops(colors: Sequence[Color], alphas: Sequence[float], start: Point, end: Point) -> Paint:
    """A straight gradient with three evenly spaced colours."""
    paint = skia.Paint(AntiAlias=True)
    shades = [packed(color, alpha) for color, alpha in zip(colors, alphas, strict=True)]
    points = [skia.Point(*start), skia.Point(*end)]
    paint.setShader(skia.GradientShader.MakeLinear(points, shades, [0, 0.5, 1]))
    return paint


def draw_outline(canvas: Canvas, surface: Any, color: Color, width_px: float) -> None:
    """Draws the glowing silhouette of what the surface shows, `width_px` wider on every side."""
    image = surface.makeImageSnapshot()
    paint = skia.Paint()
    paint.setColorFilter(skia.ColorFilters.Blend(packed(color), skia.BlendMode.kSrcIn))
    dilated = skia.ImageFilters.Dilate(width_px, width_px)
    paint.setImageFilter(skia.ImageFilters.Blur(1.6, 1.6, input=dilated))
    canvas.drawImage(image, 0, 0, skia.SamplingOptions(skia.FilterMode.kLinear), paint)


def draw_surface(canvas: Canvas, surface: Any) -> None:
    """Lays one surface over another."""
    canvas.drawImage(surface.makeImageSnapshot(), 0, 0, skia.SamplingOptions(skia.FilterMode.kLinear))


def write_text(canvas: Canvas, text: str, x: float, y: float, size: float, color: Color, alpha: float) -> None:
    """Marks the picture with strokes that read as lettering (no font is needed, so bytes are portable)."""
    for index, letter in enumerate(text):
        left = x + index * size * 0.72
        kind = ord(letter) % 4
        paint = line(color, size * 0.16, alpha)
        if kind in (0, 1):
            canvas.drawLine(left, y, left, y - size, paint)
        if kind in (0, 2):
            canvas.drawLine(left, y - size, left + size * 0.45, y - size * 0.5, paint)
        if kind in (1, 3):
            canvas.drawOval(oval(left + size * 0.24, y - size * 0.3, size * 0.24, size * 0.3), paint)
        if kind in (2, 3):
            canvas.drawLine(left, y, left + size * 0.45, y - size * 0.8, paint)

"""Draws synthetic scenes, each an image and its mask.

A scene has two to five objects of nine shapes before a cluttered background. Only the shape
tells the class: size, rotation, colour and texture are drawn from the same distributions for
every class, and for the lines, blots and specks of the background, which are no class. Objects
overlap; each pixel belongs to the one in front. As in VOC, object borders are void.

Shapes are drawn by Pillow at four times the size and averaged down, so that edges are smooth.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, radians, sin, tau

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tinyfcn.data.conventions import borders
from tinyfcn.data.dataset import Sample
from tinyfcn.data.palette import VOID
from tinyfcn.data.shapes import SHAPES, Points
from tinyfcn.data.transforms import overlap

__all__ = ["SYNTHETIC_CLASSES", "SceneStyle", "draw_scene"]

_SUPERSAMPLING = 4

Floats = NDArray[np.float32]
Range = tuple[float, float]


@dataclass(frozen=True)
class SceneStyle:
    """How hard the scenes are: every number that matters, in one place.

    Args:
        size: height and width of the image in pixels.
        objects: fewest and most objects.
        diameter: smallest and largest diameter of the circle around an object, in pixels.
        overlap: 0 keeps these circles apart, 1 allows any overlap.
        tilt: how far an object is turned from upright to either side, at most, in degrees.
        stretch: an object's aspect ratio is drawn between 1/stretch and stretch.
        clutter: fewest and most lines, blots and handfuls of specks in the background.
        contrast: least distance in RGB, each 0..1, between an object's colour and those behind it.
        noise: standard deviation of the camera noise, in grey levels.
    """

    size: int = 128
    objects: tuple[int, int] = (2, 5)
    diameter: Range = (40.0, 76.0)
    overlap: float = 0.3
    tilt: float = 30.0
    stretch: float = 1.2
    clutter: tuple[int, int] = (2, 6)
    contrast: float = 0.35
    noise: float = 5.0

    def __post_init__(self) -> None:
        limits = {"diameter": (1, self.size), "objects": (0, 100), "clutter": (0, 100)}
        for name, (least, most) in limits.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ValueError(
                    f"SceneStyle: {name} must be two rising numbers in [{least}, {most}], "
                    f"got {low, high}"
                )


SYNTHETIC_CLASSES: tuple[str, ...] = ("background", *SHAPES)


def draw_scene(rng: Generator, style: SceneStyle | None = None) -> Sample:
    """Draw one scene: image uint8 (size, size, 3) and mask uint8 (size, size), border pixels 255.

    >>> scene = draw_scene(np.random.default_rng(0))
    >>> scene.image.shape, scene.mask.shape
    ((128, 128, 3), (128, 128))
    """
    style = style or SceneStyle()
    canvas, behind = _background(rng, style)
    instances = np.zeros((style.size, style.size), np.uint8)
    labels = np.zeros(style.objects[1] + 1, np.uint8)
    for number, (row, column, diameter) in enumerate(_places(rng, style), start=1):
        label = int(rng.integers(1, len(SYNTHETIC_CLASSES)))
        coverage = _stamp(_pose(rng, style, diameter), *SHAPES[SYNTHETIC_CLASSES[label]])
        colour = _colour_apart(rng, behind, style.contrast)
        behind.append(colour)
        texture = _texture(rng, coverage.shape, colour)
        starts = [int(centre) - len(coverage) // 2 for centre in (row, column)]
        place, part = overlap(instances.shape, starts, coverage.shape)
        canvas[place] += coverage[part][..., None] * (texture[part] - canvas[place])
        instances[place][coverage[part] >= 0.5] = number
        labels[number] = label
    canvas += style.noise * rng.standard_normal(canvas.shape, dtype=np.float32)
    image = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    mask = labels[instances]
    mask[borders(instances)] = VOID
    return Sample("scene", image, mask)


# Where objects lie.


def _places(rng: Generator, style: SceneStyle) -> list[tuple[float, float, float]]:
    """Row, column and diameter of each object; one that finds no place in 30 tries is left out."""
    places: list[tuple[float, float, float]] = []
    for _ in range(rng.integers(*style.objects, endpoint=True)):
        for _ in range(30):
            diameter = rng.uniform(*style.diameter)
            # Up to a sixth of the diameter may lie outside the image.
            row, column = rng.uniform(diameter / 3, style.size - diameter / 3, 2)
            apart = (1 - style.overlap) / 2
            if all(np.hypot(row - r, column - c) >= apart * (diameter + d) for r, c, d in places):
                places.append((row, column, diameter))
                break
    return places


# Shapes.


def _pose(rng: Generator, style: SceneStyle, diameter: float) -> NDArray[np.float64]:
    """The matrix that turns, stretches and scales the unit circle to ``diameter`` pixels."""
    angle, axis = radians(rng.uniform(-style.tilt, style.tilt)), rng.uniform(0, tau)
    stretch = style.stretch ** rng.uniform(-0.5, 0.5)
    turn = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    lean = np.array([[cos(axis), -sin(axis)], [sin(axis), cos(axis)]])
    return diameter / 2 * lean @ np.diag([stretch, 1 / stretch]) @ lean.T @ turn


def _stamp(pose: NDArray[np.float64], outline: Points, *holes: Points) -> Floats:
    """The part of each pixel that a shape covers, 0..1, on the least square of odd side."""
    polygons = [np.array(points) @ pose.T for points in (outline, *holes)]
    side = 2 * ceil(np.abs(polygons[0]).max()) + 3
    stamp = Image.new("L", (side * _SUPERSAMPLING,) * 2)
    draw = ImageDraw.Draw(stamp)
    for points in polygons:
        placed = (points + side / 2) * _SUPERSAMPLING - 0.5
        draw.polygon(placed.ravel().tolist(), fill=255 if points is polygons[0] else 0)
    return _coverage(stamp, _SUPERSAMPLING)


def _coverage(image: Image.Image, factor: int) -> Floats:
    """A drawing in white on black, made smaller by averaging, as numbers 0..1."""
    return np.asarray(image.reduce(factor), np.float32) / np.float32(255)


# Colours and textures, the same for objects and background.

_VIVID = (0.45, 1.0)


def _colours(
    rng: Generator, count: int, saturation: Range = _VIVID, value: Range = _VIVID
) -> Floats:
    """Random colours, (count, 3) in 0..1, even in hue, saturation and value (HSV)."""
    hue = rng.uniform(0, 6, (count, 1))
    wheel = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    strength = rng.uniform(*saturation, (count, 1))
    return (rng.uniform(*value, (count, 1)) * (1 - strength + strength * wheel)).astype(np.float32)


def _colour_apart(rng: Generator, others: list[Floats], distance: float) -> Floats:
    """The first of some random colours at least ``distance`` from all others, or the farthest."""
    candidates = _colours(rng, 24)
    gaps = np.linalg.norm(candidates[:, None] - np.array(others), axis=2).min(axis=1)
    return candidates[np.minimum(gaps, distance).argmax()]


def _turned_grid(height: int, width: int, angle: float) -> tuple[Floats, Floats]:
    """Two coordinates of each pixel from the centre, (height, width), along turned axes."""
    rows = np.arange(height, dtype=np.float32)[:, None] - height / 2
    columns = np.arange(width, dtype=np.float32) - width / 2
    return rows * sin(angle) + columns * cos(angle), rows * cos(angle) - columns * sin(angle)


def _texture(
    rng: Generator, shape: tuple[int, ...], colour: Floats, strength: float = 1.0
) -> Floats:
    """Plain, gradient, stripes, dots or blotches around a colour: (height, width, 3), 0..255."""
    height, width = shape
    angle, phase = rng.uniform(0, tau, 2).tolist()
    along, across = _turned_grid(height, width, angle)
    pitch = float(tau / rng.uniform(5, 12))
    kind = rng.integers(5)
    if kind == 0:
        pattern = np.zeros(shape, np.float32)
    elif kind == 1:
        pattern = along / (np.abs(along).max() + 1)
    elif kind == 2:
        pattern = np.clip(2 * np.sin(along * pitch + phase), -1, 1)
    elif kind == 3:
        waves = np.sin(along * pitch + phase) * np.sin(across * pitch)
        pattern = np.clip(4 * np.abs(waves) - 1.5, -1, 1)
    else:
        coarse = rng.standard_normal((height // 7 + 2, width // 7 + 2), dtype=np.float32)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        pattern = np.clip(np.asarray(smooth), -1, 1)
    # The second colour is a lighter, darker or shifted version of the first.
    change = rng.uniform(-0.1, 0.1, 3) + rng.choice([-0.08, 0.08])
    change = (255 * strength * change).astype(np.float32)
    return np.float32(255) * colour + pattern[..., None] * change


# Backgrounds.


def _background(rng: Generator, style: SceneStyle) -> tuple[Floats, list[Floats]]:
    """A canvas (size, size, 3) of two muted regions under vivid clutter; the regions' colours."""
    size = style.size
    colours = list(_colours(rng, 2, saturation=(0.05, 0.35), value=(0.15, 0.9)))
    canvas = _texture(rng, (size, size), colours[0], strength=0.6)
    wave = _wave(rng, size)
    canvas += wave[..., None] * (_texture(rng, (size, size), colours[1], strength=0.6) - canvas)
    for _ in range(rng.integers(*style.clutter, endpoint=True)):
        colour = _colours(rng, 1)[0]
        drawing = Image.new("L", (2 * size, 2 * size))
        (_line, _blot, _specks)[rng.integers(3)](rng, ImageDraw.Draw(drawing), 2 * size)
        coverage = _coverage(drawing, 2)
        canvas += coverage[..., None] * (_texture(rng, coverage.shape, colour) - canvas)
    return canvas, colours


def _wave(rng: Generator, size: int) -> Floats:
    """1 on one side of a wavy line across the image, 0 on the other."""
    angle, phase = rng.uniform(0, tau, 2).tolist()
    height, length, shift = rng.uniform((2, 0.3, -0.3), (10, 1, 0.3)).tolist()
    along, across = _turned_grid(size, size, angle)
    edge = along + height * np.sin(across * (tau / (length * size)) + phase) - shift * size
    return np.clip(edge, 0, 1)


def _line(rng: Generator, draw: ImageDraw.ImageDraw, size: int) -> None:
    """A polyline of one to three pieces across the image."""
    points = rng.uniform(-0.1, 1.1, (rng.integers(2, 5), 2)) * size
    draw.line(points.ravel().tolist(), fill=255, width=int(rng.integers(2, 9)), joint="curve")


def _blot(rng: Generator, draw: ImageDraw.ImageDraw, size: int) -> None:
    """A blot with an irregular outline of many lobes, unlike any class."""
    angles = np.linspace(0, tau, 80, endpoint=False)
    radius = 1.0 + sum(
        rng.uniform(0.1, 0.3) * np.sin(k * angles + rng.uniform(0, tau)) for k in (2, 3, 7, 9)
    )
    radius *= rng.uniform(0.05, 0.15) * size
    column, row = rng.uniform(0, size, 2)
    points = np.stack([column + radius * np.cos(angles), row + radius * np.sin(angles)], 1)
    draw.polygon(points.ravel().tolist(), fill=255)


def _specks(rng: Generator, draw: ImageDraw.ImageDraw, size: int) -> None:
    """A handful of specks, far smaller than any object."""
    for _ in range(rng.integers(4, 16)):
        x, y = rng.uniform(0, size, 2)
        radius = rng.uniform(2, 6)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)

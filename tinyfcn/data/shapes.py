"""The outlines of the nine shapes that are classes of the synthetic scenes.

Each is a polygon in the unit circle, its points (x, y) with y downwards.
"""

from __future__ import annotations

from math import cos, sin, tau

import numpy as np

Points = list[tuple[float, float]]


def _circle(radius: float = 1.0, start: float = 0.0, stop: float = tau, steps: int = 40) -> Points:
    angles = [start + (stop - start) * step / steps for step in range(steps + 1)]
    return [(radius * cos(angle), radius * sin(angle)) for angle in angles]


def _heart() -> Points:
    """The parametric heart curve x = 16 sin³ t, y = 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t."""
    angles = [tau * step / 48 for step in range(48)]
    heights = [13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t) for t in angles]
    return [(sin(t) ** 3, -(y + 2.5) / 16) for t, y in zip(angles, heights, strict=True)]


def _crescent() -> Points:
    """A disc of radius 1 less a disc of radius 0.8 around (0.5, 0)."""
    tip = np.arccos((1 + 0.5**2 - 0.8**2) / (2 * 0.5))  # where the two circles meet
    inner_tip = np.arctan2(sin(tip), cos(tip) - 0.5)
    outer = _circle(1.0, tip, tau - tip)
    inner = _circle(0.8, tau - inner_tip, inner_tip)
    return outer + [(x + 0.5, y) for x, y in inner]


def _regular(corners: int, inner: float | None = None) -> Points:
    """A regular polygon, or with ``inner`` the star whose inner corners lie at that radius."""
    radii = [1.0] if inner is None else [1.0, inner]
    count = corners * len(radii)
    corner = [(radii[k % len(radii)], tau * k / count) for k in range(count)]
    return [(radius * sin(angle), -radius * cos(angle)) for radius, angle in corner]


_ARM = 0.34
_CROSS = [
    (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
    (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
]  # fmt: skip
_ARROW = [
    (0, -1), (0.85, 0), (0.36, 0), (0.36, 0.95), (-0.36, 0.95), (-0.36, 0), (-0.85, 0),
]  # fmt: skip

# Name of a class, its outline, and its hole if it has one. The order is that of the mask's
# indices, from 1.
SHAPES: dict[str, tuple[Points, ...]] = {
    "disc": (_circle(),),
    "ring": (_circle(), _circle(0.52)),
    "triangle": (_regular(3),),
    "square": (_regular(4),),
    "star": (_regular(5, inner=0.45),),
    "cross": (_CROSS,),
    "crescent": (_crescent(),),
    "heart": (_heart(),),
    "arrow": (_ARROW,),
}

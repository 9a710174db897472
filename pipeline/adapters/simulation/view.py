"""One simulated camera: a pinhole on a pole over flat ground, with its own colours, noise and background.

Ground frame of a camera: x to the right, y away from it, z up, in metres; the camera stands at (0, 0, height).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.adapters.simulation.people import Colour
from pipeline.contracts import F64, Image

_GROUNDS: tuple[Colour, ...] = ((136, 132, 124), (112, 112, 116), (150, 138, 118), (98, 104, 100), (160, 156, 150))
_WALLS: tuple[Colour, ...] = ((158, 142, 122), (120, 126, 134), (146, 108, 92), (176, 172, 162), (104, 112, 104))
_LAWN: Colour = (84, 108, 66)
NEAREST_M = 1.2  # nothing is drawn nearer to the lens


@dataclass(frozen=True, slots=True)
class View:
    """What distinguishes one camera of the site. Angles in radians; `gain` multiplies RGB: colour cast and exposure."""

    width_px: int
    height_px: int
    focal_px: float
    pole_m: float
    tilt: float
    wall_m: float  # distance of the wall that closes the scene
    gain: tuple[float, float, float]
    noise: float  # standard deviation in grey levels
    blur_px: float
    light: tuple[float, float]  # where the light comes from in the picture: right, down

    def project(self, points: F64) -> F64:
        """(N, 3) ground frame metres → (N, 3): u px, v px, depth m."""
        x, y, below = points[:, 0], points[:, 1], self.pole_m - points[:, 2]
        depth = np.maximum(y * math.cos(self.tilt) + below * math.sin(self.tilt), 1e-3)
        down = below * math.cos(self.tilt) - y * math.sin(self.tilt)
        u = self.width_px / 2 + self.focal_px * x / depth
        return np.stack((u, self.height_px / 2 + self.focal_px * down / depth, depth), axis=1)

    def ground_depth(self, row_px: F64) -> F64:
        """Distance y of the ground seen in picture rows; infinite at and above the horizon."""
        angle = self.tilt + np.arctan((row_px - self.height_px / 2) / self.focal_px)
        return np.where(angle > 0.02, self.pole_m / np.tan(np.maximum(angle, 0.02)), np.inf)


def draw_view(rng: np.random.Generator, width_px: int, height_px: int) -> View:
    """A camera that shows people at roughly 60 to 150 px of 360."""
    focal_px = height_px * rng.uniform(1.5, 1.75)
    # Feet at 5 m stand in the lowest rows; the tilt follows from pole and lens.
    pole_m = rng.uniform(3.0, 4.2)
    tilt = math.atan(pole_m / 5.2) - math.atan(height_px * 0.5 / focal_px)
    exposure = rng.uniform(0.8, 1.12)
    cast = np.exp(rng.normal(0, 0.055, 3))
    gain = exposure * cast / cast.mean()
    side = rng.choice((-1.0, 1.0))
    return View(
        width_px, height_px, focal_px, pole_m, tilt, rng.uniform(15.5, 20.0),
        (float(gain[0]), float(gain[1]), float(gain[2])),
        rng.uniform(1.5, 4.0), rng.uniform(0.0, 0.7), (0.6 * float(side), -0.8),
    )  # fmt: skip


def paint_background(view: View, rng: np.random.Generator) -> Image:
    """The empty scene: paving or asphalt, a strip of lawn, a wall with openings, and things that stand about."""
    columns, rows = np.meshgrid(np.arange(view.width_px, dtype=np.float64), np.arange(view.height_px, dtype=np.float64))
    y = view.ground_depth(rows)
    is_ground = y < view.wall_m
    y = np.minimum(y, view.wall_m)
    depth = y * math.cos(view.tilt) + view.pole_m * math.sin(view.tilt)
    x = (columns - view.width_px / 2) * depth / view.focal_px
    picture = np.where(is_ground[..., None], _ground(x, y, view, rng), _wall(x, rows, view, rng))
    picture *= (0.9 + 0.2 * _clouds(rng, view.height_px, view.width_px, 4))[..., None]
    picture += rng.normal(0, 5, picture.shape[:2])[..., None]
    canvas = np.clip(picture, 0, 255).astype(np.uint8)
    _furnish(canvas, view, rng)
    exposed = cv2.GaussianBlur(canvas, (0, 0), 0.6 + view.blur_px).astype(np.float64) * view.gain
    across = (columns / view.width_px - 0.5) ** 2 + (rows / view.height_px - 0.5) ** 2
    return np.clip(exposed * (1.06 - 0.35 * across)[..., None], 0, 255).astype(np.uint8)


def noise_tile(view: View, rng: np.random.Generator) -> tuple[Image, Image]:
    """Sensor noise, positive and negative part, larger than a frame: each frame cuts it elsewhere."""
    shape = (view.height_px + 64, view.width_px + 64, 3)
    noise = rng.normal(0, view.noise, (*shape[:2], 1)) + rng.normal(0, view.noise / 2, shape)
    return np.clip(noise, 0, 255).astype(np.uint8), np.clip(-noise, 0, 255).astype(np.uint8)


def _ground(x: F64, y: F64, view: View, rng: np.random.Generator) -> F64:
    colour = np.array(_GROUNDS[int(rng.integers(len(_GROUNDS)))], np.float64)
    tile_m, joint = rng.uniform(0.5, 1.4), rng.uniform(0.84, 0.96)
    # Joints fade with the distance, as a lens would blur them.
    sharp = np.clip(1.6 - y / 9, 0, 1)
    is_joint = ((x / tile_m) % 1 < 0.05) | ((y / tile_m) % 1 < 0.06)
    slab = np.sin(np.floor(x / tile_m) * 12.9898 + np.floor(y / tile_m) * 78.233) * 43758.5453 % 1
    surface = colour * (1 + (0.09 * (slab - 0.5) - (1 - joint) * is_joint) * sharp)[..., None]
    lawn_from = rng.uniform(0.72, 1.1) * view.wall_m
    return np.where(
        (y > lawn_from)[..., None], np.array(_LAWN) * (0.85 + 0.3 * rng.random(y.shape))[..., None], surface
    )


def _wall(x: F64, rows: F64, view: View, rng: np.random.Generator) -> F64:
    foot = view.project(np.array([[0.0, view.wall_m, 0.0]]))[0, 1]
    height_m = (foot - rows) * view.wall_m / view.focal_px
    colour = np.array(_WALLS[int(rng.integers(len(_WALLS)))], np.float64)
    course_m = rng.uniform(0.25, 0.6)
    is_joint = (height_m / course_m % 1 < 0.1) | (
        (x + np.floor(height_m / course_m) * 0.4) / (2.2 * course_m) % 1 < 0.05
    )
    wall = colour * (1 - 0.1 * is_joint + 0.05 * np.clip(height_m / 3, 0, 1))[..., None]
    spacing_m = rng.uniform(2.4, 4.5)
    across = (x + rng.uniform(0, spacing_m)) % spacing_m
    is_window = (across < 1.2) & (height_m > 0.9) & (height_m < 2.5)
    glass = np.array((70, 82, 96)) + 30 * np.clip(height_m - 1, 0, 2)[..., None]
    plinth: F64 = np.where((height_m < 0.15)[..., None], wall * 0.7, wall)
    return np.where(is_window[..., None], glass, plinth)


def _furnish(canvas: Image, view: View, rng: np.random.Generator) -> None:
    """Poles, planters and bins near the wall, out of the walkways."""
    for _ in range(int(rng.integers(3, 7))):
        at = np.array([rng.uniform(-8, 8), view.wall_m - rng.uniform(0.3, 1.2), 0.0])
        width_m, height_m = (0.12, 4.0) if rng.random() < 0.4 else (rng.uniform(0.5, 1.8), rng.uniform(0.5, 1.0))
        foot, head = view.project(np.stack((at, at + np.array((0, 0, height_m)))))
        half_px = view.focal_px * width_m / foot[2] / 2
        left, right, top, bottom = (int(v) for v in (foot[0] - half_px, foot[0] + half_px, head[1], foot[1]))
        colour = rng.integers(50, 130, 3)
        middle = (left + 2 * right) // 3
        cv2.rectangle(canvas, (left, top), (right, bottom), (colour * 0.7).tolist(), -1)
        cv2.rectangle(canvas, (left, top), (middle, bottom), colour.tolist(), -1)


def _clouds(rng: np.random.Generator, height: int, width: int, octaves: int) -> F64:
    """Smooth noise of several sizes, 0 to 1."""
    total: F64 = np.zeros((height, width))
    for octave in range(octaves):
        coarse = rng.random((3 * 2**octave, 4 * 2**octave)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    smooth: F64 = (total - total.min()) / (total.max() - total.min())
    return smooth

"""Figures into pictures: solids are projected, sorted by depth, shaded, and laid over the frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.adapters.simulation.figure import Figure
from pipeline.adapters.simulation.view import View
from pipeline.contracts import F64, Image

_ANGLES = np.linspace(0, 2 * math.pi, 14, endpoint=False)
_CIRCLE = np.stack((np.cos(_ANGLES), np.sin(_ANGLES)), axis=1)  # (14, 2)
_FRACTION_BITS = 3
# Share of the radius, shift towards the light in radii, and brightness, from the rim to the middle.
_LAYERS = ((1.0, 0.0, 0.76), (0.82, 0.14, 0.92), (0.5, 0.3, 1.07))
_SHADOWS = ((1.0, 34), (0.7, 40))  # share of the radius and opacity
_FABRIC = 128


@dataclass(frozen=True, slots=True)
class Projected:
    """One figure in the picture of one camera. Its box is exact: the extent of all its balls."""

    balls: F64  # (N, 3): u px, v px, radius px
    starts: tuple[int, ...]
    colours: F64  # (S, 3)
    order: tuple[int, ...]  # solids from far to near
    depth_m: float
    foot_px: tuple[float, float]
    box: tuple[float, float, float, float]


def project_figure(figure: Figure, position: tuple[float, float], heading: float, view: View) -> Projected:
    """Place a figure at `position` (x, y on the ground), walking towards `heading` (radians from the x axis)."""
    forward = np.array((math.cos(heading), math.sin(heading)))
    right = np.array((forward[1], -forward[0]))
    world = np.empty((len(figure.balls), 3))
    world[:, :2] = figure.balls[:, :1] * right + figure.balls[:, 1:2] * forward + position
    world[:, 2] = figure.balls[:, 2]
    seen = view.project(world)
    radii = figure.balls[:, 3] * view.focal_px / seen[:, 2]
    starts = np.array(figure.starts)
    depths = np.add.reduceat(seen[:, 2], starts[:-1]) / np.diff(starts) - figure.lifts
    foot = view.project(np.array([[*position, 0.0]]))[0]
    box = (
        (seen[:, 0] - radii).min(),
        (seen[:, 1] - radii).min(),
        (seen[:, 0] + radii).max(),
        (seen[:, 1] + radii).max(),
    )
    return Projected(
        np.column_stack((seen[:, :2], radii)),
        figure.starts,
        figure.colours,
        tuple(int(solid) for solid in np.argsort(-depths, kind="stable")),
        float(foot[2]),
        (float(foot[0]), float(foot[1])),
        (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
    )


def lay_over(frame: Image, figure: Projected, view: View, fabric: Image) -> None:
    """Draw the figure and its shadow into `frame` in place; `fabric` is a grey texture (H, W) of at least 128x128."""
    x1, y1, x2, y2 = figure.box
    shadow_px = 0.42 * view.focal_px / figure.depth_m
    left, top = math.floor(min(x1, figure.foot_px[0] - shadow_px)) - 2, math.floor(y1) - 2
    right, bottom = math.ceil(max(x2, figure.foot_px[0] + shadow_px)) + 3, math.ceil(y2 + shadow_px * 0.4) + 3
    if left >= view.width_px or right <= 0 or top >= view.height_px or bottom <= 0:
        return
    # Twice the size and then averaged: edges become smooth, and positions keep fractions of a pixel.
    scale = 2 if bottom - top < view.height_px else 1
    patch = np.zeros(((bottom - top) * scale, (right - left) * scale, 4), np.uint8)
    _draw_shadow(patch, figure, view, (left, top), scale, shadow_px)
    _draw_solids(patch, figure, view, (left, top), scale)
    if scale > 1:
        patch = _u8(cv2.resize(patch, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA))
    patch = _textured(patch, fabric)
    if view.blur_px > 0.2:
        patch = _u8(cv2.GaussianBlur(patch, (3, 3), view.blur_px))
    into = frame[max(top, 0) : bottom, max(left, 0) : right]
    from_y, from_x = max(-top, 0), max(-left, 0)
    part = patch[from_y : from_y + into.shape[0], from_x : from_x + into.shape[1]]
    behind = cv2.cvtColor(cv2.bitwise_not(part[..., 3]), cv2.COLOR_GRAY2RGB)
    into[:] = cv2.add(cv2.multiply(into, behind, scale=1 / 255), part[..., :3])


def _draw_shadow(
    patch: Image, figure: Projected, view: View, origin: tuple[int, int], scale: int, radius_px: float
) -> None:
    flat = max(0.12, math.sin(math.atan2(view.pole_m, figure.depth_m)))
    centre = (
        int((figure.foot_px[0] - 0.3 * view.light[0] * radius_px - origin[0]) * scale),
        int((figure.foot_px[1] - origin[1]) * scale),
    )
    for share, opacity in _SHADOWS:
        axes = (max(1, int(share * radius_px * scale)), max(1, int(share * radius_px * flat * scale)))
        cv2.ellipse(patch, centre, axes, 0, 0, 360, (0, 0, 0, opacity), -1)


def _draw_solids(patch: Image, figure: Projected, view: View, origin: tuple[int, int], scale: int) -> None:
    centres = (figure.balls[:, :2] - origin) * scale
    radii = figure.balls[:, 2] * scale
    light = np.array(view.light)
    smooth = cv2.LINE_8 if scale > 1 else cv2.LINE_AA
    outlines = [
        np.rint(
            ((centres + light * (shift * radii)[:, None])[:, None] + _CIRCLE * (share * radii)[:, None, None])
            * 2**_FRACTION_BITS
        ).astype(np.int32)
        for share, shift, _ in _LAYERS
    ]  # three times (N, 14, 2)
    colours = [np.clip(figure.colours * view.gain * brightness, 0, 255).tolist() for _, _, brightness in _LAYERS]
    for solid in figure.order:
        balls = slice(figure.starts[solid], figure.starts[solid + 1])
        for outline, colour in zip(outlines, colours, strict=True):
            hull = cv2.convexHull(outline[balls].reshape(-1, 2))
            cv2.fillConvexPoly(patch, hull, (*colour[solid], 255), smooth, _FRACTION_BITS)


def _textured(patch: Image, fabric: Image) -> Image:
    """Folds and weave: the colours (not the opacity) times a texture that moves with the person."""
    height, width = patch.shape[:2]
    grain = cv2.resize(fabric, (width, height), interpolation=cv2.INTER_LINEAR)
    opaque = np.full_like(grain, 200)
    return _u8(cv2.multiply(patch, cv2.merge((grain, grain, grain, opaque)), scale=1 / 200))


def fabric(rng: np.random.Generator) -> Image:
    """A grey texture (128, 128) around 200 for `lay_over`: broad folds and fine weave."""
    folds = cv2.resize(rng.random((9, 7)).astype(np.float32), (_FABRIC, _FABRIC), interpolation=cv2.INTER_CUBIC)
    grain = 200 + 50 * (folds - 0.5) + rng.normal(0, 7, (_FABRIC, _FABRIC))
    return np.clip(grain, 120, 255).astype(np.uint8)


def _u8(picture: npt.NDArray[Any]) -> Image:
    """OpenCV keeps the type of what it is given, which its annotations do not say."""
    return cast(Image, picture)

"""What an operator sees of a camera: a small picture with the people in it boxed and numbered."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from pipeline.contracts import Image, Tracks

_GOLDEN_RATIO = 0.618034  # steps of the hue by which neighbouring numbers look most different
_LETTERING = cv2.FONT_HERSHEY_SIMPLEX


def draw_snapshot(image: Image, tracks: Tracks, width_px: int, quality: int) -> bytes:
    """JPEG of `image`, at most `width_px` wide, with a box and the number of every track. `image` is left as it is."""
    scale = min(1.0, width_px / image.shape[1])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for track_id, box in zip(tracks.track_ids, tracks.boxes, strict=True):
        x1, y1, x2, y2 = (round(float(side) * scale) for side in box)
        colour = _colour(int(track_id))
        cv2.rectangle(small, (x1, y1), (x2, y2), colour, 2)
        cv2.putText(small, str(track_id), (x1, max(10, y1 - 4)), _LETTERING, 0.45, colour, 1, cv2.LINE_AA)
    _, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(small[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return jpeg.tobytes()


def _colour(track_id: int) -> tuple[float, float, float]:
    red, green, blue = colorsys.hsv_to_rgb(track_id * _GOLDEN_RATIO % 1.0, 0.75, 1.0)
    return 255 * red, 255 * green, 255 * blue

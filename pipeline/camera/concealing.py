"""Heads made unrecognisable before a picture leaves the camera worker. Pure.

No face is looked for: what is concealed is the upper fifth of a box, where a standing pedestrian has the head. Who
sits, bends or is cut off has it elsewhere perhaps, and who was not detected is not concealed at all.
"""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.contracts import F32, Image

_ABOVE, _BELOW = 0.03, 0.2  # of the height of the box, from its upper edge: the head with some room for a loose box
_BESIDE = 0.1  # of its width, on either side
_LEFT = 4  # colours across and down: all that is left of a head


def conceal_heads(image: Image, boxes: F32) -> Image:
    """A copy of `image` in which the head of each box (N, 4, x1 y1 x2 y2 in pixels) is four by four colours."""
    concealed = image.copy()
    height, width = image.shape[:2]
    for x1, y1, x2, y2 in boxes.astype(float):
        tall, wide = y2 - y1, x2 - x1
        left, right = max(int(x1 - _BESIDE * wide), 0), min(int(np.ceil(x2 + _BESIDE * wide)), width)
        top, bottom = max(int(y1 - _ABOVE * tall), 0), min(int(np.ceil(y1 + _BELOW * tall)), height)
        if left < right and top < bottom:
            head = concealed[top:bottom, left:right]
            few = cv2.resize(head, (_LEFT, _LEFT), interpolation=cv2.INTER_AREA)
            concealed[top:bottom, left:right] = cv2.resize(few, head.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return concealed


def show(image: Image, _: F32) -> Image:
    """The picture as it is."""
    return image

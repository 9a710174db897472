"""Crops of any size as one block of pixels; everything after it, the normalisation too, is the network's."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.contracts import Image
from pipeline.errors import InvalidMessage

U8 = npt.NDArray[np.uint8]


def pixel_block(crops: Sequence[Image], height_px: int, width_px: int) -> U8:
    """RGB crops (H, W, 3) uint8 of any size → (N, `height_px`, `width_px`, 3).

    Raises `InvalidMessage` naming a crop that is something else.
    """
    block = np.empty((len(crops), height_px, width_px, 3), np.uint8)
    for place, crop in enumerate(crops):
        if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8 or crop.size == 0:
            raise InvalidMessage(
                f"crop {place} is {crop.dtype} of shape {crop.shape}; expected RGB uint8 of shape (H, W, 3)"
            )
        cv2.resize(crop, (width_px, height_px), dst=block[place], interpolation=cv2.INTER_LINEAR)
    return block

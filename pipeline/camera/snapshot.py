"""What an operator sees of a camera: a small picture. Who is where in it says the camera's status."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.contracts import Image


def small_picture(image: Image, width_px: int, quality: int) -> bytes:
    """JPEG of `image`, at most `width_px` wide. `image` is left as it is."""
    scale = min(1.0, width_px / image.shape[1])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", np.ascontiguousarray(small[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return jpeg.tobytes()

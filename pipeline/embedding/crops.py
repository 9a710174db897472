"""From the JPEGs of a tracklet to pixels, and from the vectors of its crops to one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.contracts import F32, Crop, Image
from pipeline.errors import InvalidMessage

MAX_SIDE_PX = 4096
# Height and width that no usual person encoder exceeds. Not those of the model at work: there are two while one takes
# over from the other, and the archive is embedded again by another process, all from the same pixels.
ENCODER_PX = (384, 224)
_SHARP = 100.0  # variance of the Laplacian at 128x64 from which blur no longer hurts
_TALL_PX = 128.0  # height from which a larger crop shows nothing more to an encoder
# A reduced picture is the mean of its pixels, made while decoding: half the time, and nearer to the crop that a camera
# further away would give (mean cosine 0.9992, worst 0.996) than the whole picture, from which resizing by two nearest
# pixels picks some (0.9978, 0.993; sightline-small, 128x64 px crops of a public set enlarged four times). OpenCV has
# names for these flags with BGR and grey only; the grey one beside IMREAD_COLOR_RGB gives colours.
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
# Start-of-frame markers (ITU T.81, table B.1): C0-CF without DHT (C4), JPG (C8) and DAC (CC).
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})


def decode_crop(jpeg: bytes) -> Image:
    """(H, W, 3) RGB. Raises `InvalidMessage` for what is no JPEG, or one whose pixels would fill the memory.

    A crop that is several times as large as any encoder's input is decoded at a half, a quarter or an eighth.
    """
    width, height = jpeg_size(jpeg)
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise InvalidMessage(
            f"the crop's header says {width}x{height} px; expected 1 to {MAX_SIDE_PX} on each side: "
            "the camera worker cuts crops far smaller, so look at what else publishes on this stream"
        )
    flags = _REDUCED[reduction(height, width)] | cv2.IMREAD_COLOR_RGB
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags)
    if pixels is None or pixels.size == 0:
        raise InvalidMessage(f"the crop ({len(jpeg)} bytes) has a JPEG header but cannot be decoded")
    return np.asarray(pixels, np.uint8)


def reduction(height_px: int, width_px: int) -> int:
    """The largest of 8, 4, 2 and 1 by which a picture may be divided and still be as large as `ENCODER_PX`."""
    return next((by for by in (8, 4, 2) if height_px >= by * ENCODER_PX[0] and width_px >= by * ENCODER_PX[1]), 1)


def jpeg_size(jpeg: bytes) -> tuple[int, int]:
    """Width and height from the header, without decoding. Raises `InvalidMessage` when there is none."""
    if jpeg[:2] != b"\xff\xd8":
        raise InvalidMessage(f"the crop begins with {jpeg[:4].hex(' ')}; expected a JPEG (ff d8)")
    at = 2
    while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker in _FRAME_MARKERS:
            return int.from_bytes(jpeg[at + 7 : at + 9]), int.from_bytes(jpeg[at + 5 : at + 7])
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        else:
            at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    raise InvalidMessage(f"the crop ({len(jpeg)} bytes) is a JPEG without a frame header; it was cut short")


def crop_quality(crop: Crop) -> float:
    """How far the vector of a crop may be trusted, 0 to 1: detector score, visibility, sharpness and height."""
    height_px = crop.box_px[3] - crop.box_px[1]
    sharp, tall = min(1.0, crop.sharpness / _SHARP), min(1.0, height_px / _TALL_PX)
    return crop.score * crop.visibility * math.sqrt(sharp * tall)


def mean_direction(vectors: F32, weights: Sequence[float]) -> F32:
    """(N, D) unit vectors and N weights → (D,) unit vector of their weighted mean.

    Weights that are all zero count as equal. Vectors that cancel have no mean: the one of greatest weight speaks alone.
    """
    share = np.asarray(weights, np.float32)
    if not share.any():
        share = np.ones_like(share)
    mean = share @ vectors
    if np.linalg.norm(mean) < 1e-3 * share.sum():
        mean = vectors[int(share.argmax())]
    unit: F32 = mean / np.linalg.norm(mean)
    return unit

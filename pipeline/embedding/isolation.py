"""One encoder pass for all crops, and still no crop that spoils it for the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F32, Image
from pipeline.errors import InvalidMessage, Unavailable
from pipeline.interfaces import Encoder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CropVectors:
    """How one crop looks: unit vectors."""

    appearance: F32  # (A,)
    language: F32  # (L,)


def embed_each(encoder: Encoder, crops: Sequence[Image]) -> list[CropVectors | InvalidMessage]:
    """The vectors of each crop, or what is wrong with it.

    When a pass fails, its halves are tried by themselves down to the single crop: this finds a crop that the encoder
    stumbles over, and it also gets a batch through that did not fit into memory.
    """
    try:
        found = encoder.embed_images(crops)
    except Unavailable:
        raise
    except Exception as error:
        # Encoders fail in their runtime's own ways (RuntimeError, MemoryError, ONNX and CUDA classes).
        reason = f"the encoder failed on it: {type(error).__name__}: {error}"[:300]
        if len(crops) == 1:
            return [InvalidMessage(reason)]
        log.warning("a pass over %d crops failed, trying its halves: %s", len(crops), reason)
        half = len(crops) // 2
        return embed_each(encoder, crops[:half]) + embed_each(encoder, crops[half:])
    return [
        _checked(appearance, language) for appearance, language in zip(found.appearance, found.language, strict=True)
    ]


def _checked(appearance: F32, language: F32) -> CropVectors | InvalidMessage:
    for name, vector in (("appearance", appearance), ("language", language)):
        length = float(np.linalg.norm(vector))
        if not 0.9 < length < 1.1:  # not so for NaN, too
            return InvalidMessage(f"the encoder gave an {name} vector of length {length:.3f}; expected a unit vector")
    return CropVectors(appearance, language)

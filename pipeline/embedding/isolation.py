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


class PassLimit:
    """How many crops one pass may hold; None: any number. Starts without a limit.

    A size that failed for lack of memory is not tried at every batch again: the limit falls to what went through, and
    doubles after `patience` full passes, because whoever took the memory may have given it back.
    """

    def __init__(self, patience: int = 64) -> None:
        self.crops: int | None = None
        self._patience = patience
        self._full_passes = 0

    def went_through(self, crops: int) -> None:
        """Hear of a pass that succeeded."""
        if self.crops is None or crops < self.crops:
            return
        self._full_passes += 1
        if self._full_passes >= self._patience:
            self.crops, self._full_passes = 2 * self.crops, 0

    def was_too_much(self, crops: int) -> None:
        """Hear that so many crops failed together, and each of their halves went through."""
        half = max(crops // 2, 1)
        if self.crops is None or half < self.crops:
            self.crops = half
            log.warning("a pass over %d crops failed and its halves did not: at most %d from now on", crops, half)
        self._full_passes = 0


def embed_each(
    encoder: Encoder, crops: Sequence[Image], limit: PassLimit | None = None
) -> list[CropVectors | InvalidMessage]:
    """The vectors of each crop, or what is wrong with it. `limit` is kept between the batches of one encoder.

    When a pass fails, its halves are tried by themselves down to the single crop: this finds a crop that the encoder
    stumbles over, and it also gets a batch through that did not fit into memory.
    """
    limit = limit or PassLimit()
    found: list[CropVectors | InvalidMessage] = []
    while len(found) < len(crops):
        found += _embedded(encoder, crops[len(found) :][: limit.crops], limit)
    return found


def _embedded(encoder: Encoder, crops: Sequence[Image], limit: PassLimit) -> list[CropVectors | InvalidMessage]:
    reason = ""
    try:
        vectors = encoder.embed_images(crops)
    except Unavailable:
        raise
    except Exception as error:
        # Encoders fail in their runtime's own ways (RuntimeError, MemoryError, ONNX and CUDA classes).
        reason = f"the encoder failed on it: {type(error).__name__}: {error}"[:300]
    # Not inside `except`: the error would keep the failed pass, and its memory, alive while the halves are tried.
    if not reason:
        limit.went_through(len(crops))
        return [_checked(*pair) for pair in zip(vectors.appearance, vectors.language, strict=True)]
    if len(crops) == 1:
        return [InvalidMessage(reason)]
    log.warning("a pass over %d crops failed, trying its halves: %s", len(crops), reason)
    half = len(crops) // 2
    halves = _embedded(encoder, crops[:half], limit) + _embedded(encoder, crops[half:], limit)
    if all(isinstance(each, CropVectors) for each in halves):
        limit.was_too_much(len(crops))
    return halves


def _checked(appearance: F32, language: F32) -> CropVectors | InvalidMessage:
    for name, vector in (("appearance", appearance), ("language", language)):
        length = float(np.linalg.norm(vector))
        if not 0.9 < length < 1.1:  # not so for NaN, too
            return InvalidMessage(f"the encoder gave an {name} vector of length {length:.3f}; expected a unit vector")
    return CropVectors(appearance, language)

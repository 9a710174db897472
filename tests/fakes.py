"""Small stand-ins and builders shared by tests."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from pipeline.contracts import (
    F32,
    Crop,
    Embeddings,
    IdentityEvent,
    IdentityEventKind,
    Image,
    ServingModel,
    TrackletCrops,
    TrackletEmbedding,
    pack_vector,
)
from pipeline.interfaces import Encoder
from pipeline.matching.looks import LookPrior, straight_curves

DIGEST = "0123456789abcdef"
DIMENSION = 16
# Tracklets of one person are 0.6 alike or more in these tests, and those of two people hardly ever 0.4.
CLEAR_LOOKS = LookPrior(mean=0.0, deviation=0.2, curves=straight_curves(slope=5.0, midpoint=2.0))


class HandClock:
    """`Clock` that moves only when told to, or asked to sleep. Both lines of time run together."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def sleep(self, duration_s: float) -> None:
        with self._lock:
            self._now += duration_s


@dataclass(slots=True)
class SetModels:
    """`Models` of the matcher with answers that a test sets; without any, the model of the first vector serves."""

    wanted_digest: str | None = None
    known: frozenset[str] = frozenset()
    not_ready: frozenset[str] = frozenset()
    looks: LookPrior = CLEAR_LOOKS
    announced: list[ServingModel] = field(default_factory=list)

    def wanted(self) -> str | None:
        return self.wanted_digest

    def has_known(self, digest: str) -> bool:
        return digest in self.known or digest == self.wanted_digest

    def is_ready(self, digest: str) -> bool:
        return digest not in self.not_ready

    def prior(self, digest: str) -> LookPrior:
        return self.looks

    def announce(self, serving: ServingModel) -> None:
        self.announced.append(serving)


class ColourEncoder:
    """`Encoder` by the colours of six horizontal stripes; a crop whose top left pixel is pure white makes it fail."""

    def __init__(self, digest: str = DIGEST) -> None:
        self.digest = digest
        self.passes: list[int] = []  # crops in each pass

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        self.passes.append(len(crops))
        if any(crop[0, 0].min() > 250 for crop in crops):
            raise RuntimeError("a white crop")
        stripes = np.stack([_stripes(crop) for crop in crops])
        return Embeddings(appearance=_unit(stripes), language=_unit(stripes[:, ::-1]))

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        rng = np.random.default_rng([sum(sentence.encode()) for sentence in sentences])
        return unit_vectors(rng, len(sentences), 18)


class SetEncoders:
    """`Encoders` that a test sets; of one only, it is that of the serving model."""

    def __init__(self, *encoders: Encoder) -> None:
        self.encoders = list(encoders)
        self.working: dict[str, bool] = {}

    def __call__(self) -> Sequence[Encoder]:
        return self.encoders

    def works(self, encoder: Encoder, is_working: bool) -> None:
        self.working[encoder.digest] = is_working


def unit_vectors(rng: np.random.Generator, count: int, dimension: int = DIMENSION) -> F32:
    """(count, dimension) random directions."""
    return _unit(rng.standard_normal((count, dimension)).astype(np.float32))


def embedding(
    camera_id: str = "gate",
    track_id: int = 0,
    sequence: int = 0,
    *,
    started_at: float = 0.0,
    ended_at: float = 4.0,
    vector: F32 | None = None,
    digest: str = DIGEST,
) -> TrackletEmbedding:
    """A tracklet as the matcher gets it; without `vector` it looks like the first axis."""
    direction = pack_vector(np.eye(1, DIMENSION)[0] if vector is None else vector)
    return TrackletEmbedding(
        camera_id=camera_id,
        boot_id="b1",
        track_id=track_id,
        sequence=sequence,
        started_at=started_at,
        ended_at=ended_at,
        detections=8,
        model_digest=digest,
        appearance=direction,
        language=direction,
        quality=0.8,
        crop_keys=("0" * 40,),
    )


def painted(colour: tuple[int, int, int], height_px: int = 64, width_px: int = 32) -> Image:
    """A picture of one colour (RGB)."""
    return np.full((height_px, width_px, 3), colour, np.uint8)


def jpeg(image: Image) -> bytes:
    """JPEG of an RGB image."""
    encoded: bytes = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
    return encoded


def crop(content: bytes, *, score: float = 0.9, captured_at: float = 1.0) -> Crop:
    """A sharp, wholly visible crop with the given bytes as its JPEG."""
    return Crop(
        jpeg=content,
        captured_at=captured_at,
        box_px=(10.0, 10.0, 74.0, 202.0),
        frame_size_px=(640, 360),
        score=score,
        sharpness=200.0,
        visibility=1.0,
    )


def tracklet(track_id: int, *crops: Crop, camera_id: str = "gate") -> TrackletCrops:
    """A tracklet as the embedder gets it."""
    return TrackletCrops(
        camera_id=camera_id,
        boot_id="b1",
        track_id=track_id,
        sequence=0,
        started_at=0.0,
        ended_at=4.0,
        sent_at=4.5,
        detections=8,
        is_last=True,
        crops=crops,
    )


def event(number: int, size_bytes: int = 1) -> IdentityEvent:
    """An identity event; `size_bytes` makes it large."""
    return IdentityEvent(
        event_id=number,
        kind=IdentityEventKind.ASSIGNED,
        decided_at=5.0,
        global_id=1,
        tracklet_ids=("x" * size_bytes,),
        confidence=0.5,
        reason="test",
    )


def _stripes(crop: Image) -> F32:
    means = [stripe.reshape(-1, 3).mean(0) for stripe in np.array_split(crop, 6)]
    colours: F32 = np.concatenate(means).astype(np.float32) + np.float32(1.0)
    return colours


def _unit(vectors: F32) -> F32:
    unit: F32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit

"""A tracklet's crops as pixels, and their vectors as the tracklet's embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import (
    Crop,
    Image,
    Message,
    StreamName,
    TrackletCrops,
    TrackletEmbedding,
    expect,
    pack_vector,
)
from pipeline.embedding.crops import crop_quality, decode_crop, mean_direction
from pipeline.embedding.isolation import CropVectors, PassLimit, embed_each
from pipeline.errors import InvalidMessage
from pipeline.interfaces import Encoder


@dataclass(frozen=True, slots=True)
class OpenedTracklet:
    """A tracklet with the crops that could be decoded."""

    tracklet: TrackletCrops
    crops: tuple[Crop, ...]  # best first
    images: tuple[Image, ...]  # beside `crops`
    problems: tuple[str, ...]  # of the other crops


def open_tracklet(message: Message) -> OpenedTracklet:
    """Decode what can be decoded. Raises `InvalidMessage` for a message of another kind, or when no crop is left."""
    tracklet = expect(TrackletCrops, message, StreamName.CROPS)
    good: list[tuple[Crop, Image]] = []
    problems: list[str] = []
    for place, crop in enumerate(tracklet.crops):
        try:
            good.append((crop, decode_crop(crop.jpeg)))
        except InvalidMessage as error:
            problems.append(f"crop {place}: {error}")
    if not good:
        raise _unusable(tracklet, problems)
    return OpenedTracklet(tracklet, tuple(crop for crop, _ in good), tuple(image for _, image in good), tuple(problems))


def embedding_of(
    opened: OpenedTracklet, vectors: Sequence[CropVectors | InvalidMessage], digest: str
) -> TrackletEmbedding:
    """The mean of the crops' vectors, weighted by quality. Raises `InvalidMessage` when no crop has a vector."""
    seen = [(crop, each) for crop, each in zip(opened.crops, vectors, strict=True) if isinstance(each, CropVectors)]
    if not seen:
        raise _unusable(opened.tracklet, [*opened.problems, *(str(each) for each in vectors)])
    qualities = [crop_quality(crop) for crop, _ in seen]
    tracklet = opened.tracklet
    return TrackletEmbedding(
        camera_id=tracklet.camera_id,
        boot_id=tracklet.boot_id,
        track_id=tracklet.track_id,
        sequence=tracklet.sequence,
        started_at=tracklet.started_at,
        ended_at=tracklet.ended_at,
        detections=tracklet.detections,
        model_digest=digest,
        appearance=pack_vector(mean_direction(np.stack([each.appearance for _, each in seen]), qualities)),
        language=pack_vector(mean_direction(np.stack([each.language for _, each in seen]), qualities)),
        quality=max(qualities),
        crop_keys=tuple(crop.key for crop, _ in seen),
    )


def embedded(
    opened: Sequence[OpenedTracklet | InvalidMessage], encoder: Encoder, limit: PassLimit
) -> list[TrackletEmbedding | InvalidMessage]:
    """Beside each tracklet its embedding, or what is wrong with it; one pass for all. `limit` is the encoder's own.

    Raises `Unavailable` where the encoder does.
    """
    images = [image for each in opened if isinstance(each, OpenedTracklet) for image in each.images]
    vectors = iter(embed_each(encoder, images, limit) if images else ())
    results: list[TrackletEmbedding | InvalidMessage] = []
    for each in opened:
        if isinstance(each, InvalidMessage):
            results.append(each)
            continue
        try:
            results.append(embedding_of(each, [next(vectors) for _ in each.images], encoder.digest))
        except InvalidMessage as error:
            results.append(error)
    return results


def _unusable(tracklet: TrackletCrops, problems: Sequence[str]) -> InvalidMessage:
    return InvalidMessage(f"no crop of {tracklet.tracklet_id} can be used: {'; '.join(problems)}"[:400])

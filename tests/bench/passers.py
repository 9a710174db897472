"""Tracklets that pass a bench of the matcher."""

from __future__ import annotations

from pipeline.contracts import F32, TrackletEmbedding, pack_vector

DIGEST = "benchmark-model"


def passer(camera_id: str, boot_id: str, track_id: int, started_at: float, vector: F32) -> TrackletEmbedding:
    """Four seconds of somebody before one camera, as an embedder sends them."""
    return TrackletEmbedding(
        camera_id=camera_id,
        boot_id=boot_id,
        track_id=track_id,
        sequence=0,
        started_at=started_at,
        ended_at=started_at + 4.0,
        detections=30,
        model_digest=DIGEST,
        appearance=pack_vector(vector),
        language=pack_vector(vector),
        quality=0.8,
        crop_keys=("0" * 40,),
    )

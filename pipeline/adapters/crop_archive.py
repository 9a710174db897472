"""Tracklets as the camera sent them, put together again from the rows of the database and the blobs of their crops."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from pipeline.adapters.model_store import ModelStore
from pipeline.adapters.stays import StoredCrop, StoredTracklet
from pipeline.contracts import Crop, TrackletCrops, TrackletId, tracklet_parts
from pipeline.embedding.reembedding import Rebuilt
from pipeline.interfaces import Blobs
from pipeline.kept import Coverage, FailedEmbedding, Position


class StoredCropArchive:
    """`CropArchive` over a database and its blobs."""

    def __init__(self, store: ModelStore, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs

    def missing(
        self, model_digest: str, after: Position, limit: int, undecided_before: float | None
    ) -> Sequence[Position]:
        return self._store.missing(model_digest, after, limit, undecided_before)

    def coverage(self, model_digest: str) -> Coverage:
        return self._store.coverage(model_digest)

    def note_failures(self, failures: Sequence[FailedEmbedding], failed_at: float) -> None:
        self._store.note_failures(failures, failed_at)

    def read(self, tracklet_ids: Sequence[TrackletId]) -> list[Rebuilt]:
        """A tracklet that was deleted meanwhile is left without crops."""
        known = self._store.tracklets(tracklet_ids)
        return [self._rebuilt(name, known.get(name)) for name in tracklet_ids]

    def _rebuilt(self, name: TrackletId, stored: StoredTracklet | None) -> Rebuilt:
        crops: list[Crop] = []
        problems: list[str] = []
        for rank, kept in enumerate(stored.crops if stored else ()):
            found = self._crop(kept)
            if isinstance(found, Crop):
                crops.append(found)
            else:
                problems.append(f"crop {rank}, {kept.blob_key}, {found}")
        if stored is None or not crops:
            return Rebuilt(name, None, tuple(problems))
        camera_id, boot_id, track_id, sequence = tracklet_parts(name)
        tracklet = TrackletCrops(
            camera_id=camera_id,
            boot_id=boot_id,
            track_id=track_id,
            sequence=sequence,
            started_at=stored.started_at,
            ended_at=stored.ended_at,
            sent_at=stored.ended_at,
            detections=stored.detections,
            is_last=False,  # not kept, and nobody asks for it any more
            crops=tuple(crops),
        )
        return Rebuilt(name, tracklet, tuple(problems))

    def _crop(self, kept: StoredCrop) -> Crop | str:
        """The crop, or what is wrong with it."""
        content = self._blobs.get(kept.blob_key)
        if content is None:
            return "is lost or damaged"
        try:
            return Crop(
                jpeg=content,
                captured_at=kept.captured_at,
                box_px=kept.box_px,
                frame_size_px=kept.frame_size_px,
                score=kept.score,
                sharpness=kept.sharpness,
                visibility=kept.visibility,
            )
        except ValidationError:
            return f"has {len(content)} bytes that are no crop"

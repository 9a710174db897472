"""What became of the frames of one camera, over all the decoders it had: into the metrics, each frame once."""

from __future__ import annotations

from pipeline import metrics
from pipeline.adapters.frame_slot import FrameSlot
from pipeline.adapters.source_options import SourceCounts
from pipeline.contracts import CameraId


class FeedTally:
    """Compares the counts that a decoder leaves in the slot with those seen at the last look."""

    def __init__(self, camera_id: CameraId, slot: FrameSlot) -> None:
        self.taken_sequence = 0
        self.reconnects = 0
        self._slot = slot
        self._seen = SourceCounts()
        self._skipped = 0
        self._sequence_at_begin = 0
        self._was_up = False
        self._decoded = metrics.FRAMES_IN.labels(camera_id)
        self._decode_s = metrics.DECODE_SECONDS.labels(camera_id)
        self._dropped = {
            reason: metrics.FRAMES_DROPPED.labels(camera_id, reason) for reason in ("rate", "late", "corrupt")
        }
        self._up = metrics.CAMERA_UP.labels(camera_id)
        self._stalls = metrics.CAMERA_STALLS.labels(camera_id)
        self._reconnects = metrics.CAMERA_RECONNECTS.labels(camera_id)

    @property
    def has_untaken(self) -> bool:
        return self._slot.sequence > self.taken_sequence

    def begin(self) -> None:
        """A new decoder is about to start; it counts from zero."""
        self._slot.note(SourceCounts())
        self._seen = SourceCounts()
        self._skipped = 0
        self._sequence_at_begin = self._slot.sequence

    def look(self) -> bool:
        """Count what is new. Whether anything was decoded since the last look."""
        counts = self._slot.counts()  # before the sequence: then no frame looks skipped that is just being put
        skipped = max(self._skipped, counts.decoded - (self._slot.sequence - self._sequence_at_begin))
        decoded = counts.decoded - self._seen.decoded
        self._decoded.inc(decoded)
        self._dropped["corrupt"].inc(counts.corrupt - self._seen.corrupt)
        self._dropped["rate"].inc(skipped - self._skipped)
        if decoded:
            self._decode_s.observe((counts.decode_s - self._seen.decode_s) / decoded)
        self._seen, self._skipped = counts, skipped
        return decoded > 0

    def note_taken(self, sequence: int) -> None:
        self._dropped["late"].inc(sequence - self.taken_sequence - 1)
        self.taken_sequence = sequence

    def note_up(self) -> None:
        self._up.set(1)
        if self._was_up:
            self.reconnects += 1
            self._reconnects.inc()
        self._was_up = True

    def note_down(self) -> None:
        self.look()
        self._up.set(0)

    def note_stall(self) -> None:
        self._stalls.inc()

    def close(self) -> None:
        self.note_down()
        self._dropped["late"].inc(self._slot.sequence - self.taken_sequence)

"""The seams: small Protocols named for their role. Each docstring names the production part and its test twin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.contracts import (
    F32,
    I64,
    BlobKey,
    CameraId,
    CameraStatus,
    Detections,
    Embeddings,
    Frame,
    GlobalId,
    IdentityEvent,
    Image,
    LoadedModels,
    Message,
    ServingModel,
    StreamName,
    TrackletCrops,
    TrackletEmbedding,
    TrackletId,
    Tracks,
)
from pipeline.decisions import Applied, Correction, CorrectionRequest, Decision, Revision, WhoIsWho
from pipeline.forgetting import Kind, Receipt
from pipeline.kept import GalleryRows, KeptCalibration, ModelSwitch, Sighting, Thoughts


class Clock(Protocol):
    """Time: `SystemClock` in services, a hand-turned one in tests."""

    def now(self) -> float:
        """UTC seconds."""

    def monotonic(self) -> float:
        """Seconds that never jump; for durations."""

    def sleep(self, duration_s: float) -> None: ...


# --- camera ------------------------------


class FrameSource(Protocol):
    """An opened stream: PyAV for network and files, `SimulatedCamera`; a list of frames in tests."""

    @property
    def address(self) -> str:
        """Where the frames come from, without credentials."""

    def read(self) -> Frame:
        """Block until the next frame. Raises `StreamLost` (reconnect) or `StreamEnded` (finite source is done)."""

    def close(self) -> None: ...


class Feed(Protocol):
    """One camera as its worker sees it: never blocks, never raises, reconnects by itself.

    `SupervisedFeed` (a child process decodes, and is killed when it stalls); a scripted one in tests.
    """

    camera_id: CameraId

    def take(self) -> Frame | None:
        """The newest frame not yet taken, or None. Older ones are dropped and counted."""

    def status(self) -> CameraStatus: ...

    def close(self) -> None: ...


class Detector(Protocol):
    """Finds persons: `MotionDetector`, `OnnxDetector`, `UltralyticsDetector`; scripted boxes in tests."""

    @property
    def name(self) -> str: ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One `Detections` per frame, in order, boxes in the frame's own pixels. Frames may be of many cameras."""


class Tracker(Protocol):
    """Follows persons in one camera: `ByteTracker` (our own, pure), `UltralyticsTracker`."""

    def update(self, detections: Detections, captured_at: float, image: Image | None = None) -> Tracks:
        """Advance to the frame taken at `captured_at` and return the tracks seen in it.

        `image` is that frame, for those who also look at people; without it the boxes alone count.
        """


# --- embedding ------------------------------


class Encoder(Protocol):
    """Crops and sentences to vectors: `BundleEncoder` in production, colour statistics in tests."""

    @property
    def digest(self) -> str:
        """Names the weights; vectors of different digests are never compared."""

    def embed_images(self, crops: Sequence[Image]) -> Embeddings: ...

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        """(N, L) unit vectors in the space of `Embeddings.language`."""


# --- bus ------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message in the hands of one consumer until it is acknowledged. `delivered` counts the hand-outs from 1."""

    stream: StreamName
    entry_id: str
    message: Message
    delivered: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far a consumer group is behind: entries never delivered, and delivered but not acknowledged."""

    waiting: int
    pending: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was set aside: where it came from, why, and its raw fields for a replay."""

    entry_id: str
    stream: StreamName
    group: str
    reason: str
    failed_at: float
    fields: dict[bytes, bytes]


class Bus(Protocol):
    """Streams with consumer groups, at least once: `RedisBus` in production, `MemoryBus` in tests; one contract suite.

    Every method raises `Unavailable` while the server does not answer.
    """

    def publish(self, stream: StreamName, messages: Sequence[Message]) -> None:
        """Append in order. Raises `BusFull` at the byte budget: nothing of the call was appended then."""

    def consume(self, stream: StreamName, group: str, consumer: str, count: int, block_s: float) -> list[Delivery]:
        """Up to `count` messages: first what this consumer left unacknowledged at its last start, then what others
        abandoned, then new ones. Unreadable entries go to the dead letters by themselves and are not returned."""

    def acknowledge(self, deliveries: Sequence[Delivery], group: str) -> None: ...

    def set_aside(self, delivery: Delivery, group: str, reason: str) -> None:
        """Move a message to the dead letters and acknowledge it."""

    def backlog(self, stream: StreamName, group: str) -> Backlog: ...

    def trim(self) -> int:
        """Drop what every group has acknowledged, and never more. Returns the number of entries dropped."""

    def discard(
        self, stream: StreamName, are_gone: Callable[[Sequence[Message]], Sequence[bool]], before_at: float = math.inf
    ) -> int:
        """Remove messages wherever they stand, waiting, given out or dead; returns how many. `are_gone` is asked of
        some at a time, of those that were published before `before_at` (UTC seconds), and of no unreadable one."""

    def dead_letters(self, limit: int) -> list[DeadLetter]: ...

    def replay(self, entry_ids: Sequence[str]) -> int:
        """Publish dead letters again on their stream and remove them from the dead. Returns how many."""


class Outbox(Protocol):
    """A camera worker's way onto the bus, which loses nothing: the bus, else this machine's disk; a list in tests."""

    @property
    def is_blocked(self) -> bool:
        """Make no more messages now: what was sent is kept, but the bus and the disk take no more."""

    def send(self, messages: Sequence[TrackletCrops]) -> None:
        """Publish in order, or keep until that succeeds. Never raises for a bus or a disk in trouble."""

    def pump(self) -> int:
        """Send what was kept, as far as the bus takes it. Call it often. Returns the number of messages sent."""


class StatusBoard(Protocol):
    """The newest status and picture of each camera: a Redis hash in production, a dict in tests."""

    def report(self, status: CameraStatus, snapshot_jpeg: bytes | None) -> None: ...

    def statuses(self) -> list[CameraStatus]: ...

    def snapshot(self, camera_id: CameraId) -> bytes | None: ...


class ModelBoard(Protocol):
    """What matcher and embedders tell one another about models: Redis in production, memory in tests.

    Every method raises `Unavailable` while the server does not answer.
    """

    def announce(self, serving: ServingModel) -> None:
        """By the matcher: with which model it compares now."""

    def serving(self) -> ServingModel | None:
        """The last announcement; None before the first."""

    def report(self, loaded: LoadedModels) -> None:
        """By an embedder: of which models it gives vectors now."""

    def reports(self) -> list[LoadedModels]:
        """The newest report of each embedder that has reported lately, by name."""


# --- state ------------------------------


class Store(Protocol):
    """The database, which is the truth: `SqlStore` on SQLite or PostgreSQL; SQLite in memory in tests."""

    def commit_decisions(
        self,
        decisions: Sequence[Decision],
        decided_at: float,
        revisions: Sequence[Revision] = (),
        applied: Applied | None = None,
    ) -> list[IdentityEvent]:
        """Write embeddings, assignments, then revisions, and their events in one transaction, with what came of a
        correction. A tracklet that has an assignment keeps it, unless a revision moves it.

        Raises `Unavailable` when a number meant for a new person has been given out in the meantime, or a revision does
        not fit any more: decide again."""

    def assignments(self, tracklet_ids: Sequence[TrackletId]) -> dict[TrackletId, GlobalId]: ...

    def next_global_id(self) -> GlobalId:
        """One more than any number ever given out; numbers are never reused."""

    def unpublished_events(self, limit: int) -> list[IdentityEvent]: ...

    def mark_published(self, up_to_event_id: int) -> None: ...

    def identity_changes(self, after_event_id: int, limit: int) -> list[IdentityEvent]:
        """Merged, split and erased events after `after_event_id`, oldest first: how readers keep a cache right."""

    def gallery(self, model_digest: str, vector: str, after_row: int, limit: int) -> tuple[GalleryRows, int]:
        """Rows after row number `after_row`, and the number to continue from. `vector` is appearance or language."""

    def decided(self, model_digest: str, after_event: int, limit: int) -> tuple[GalleryRows, int]:
        """The same with appearance vectors in the order of decisions, whenever the vectors were made."""

    def decisions(self, after_event: int, limit: int) -> tuple[GalleryRows, I64]:
        """As `decided`, whether they have a vector or not, but without it, with NaN for what was thought of them; and
        the numbers of their events (N,). At most `limit`, and none when there are no more."""

    def most_vectors(self, model_digest: str) -> int:
        """At least so many as there are of the model: told by the first and the last, however many there are."""

    def with_vectors(self, model_digest: str, rows: GalleryRows, events: I64) -> tuple[GalleryRows, I64]:
        """Those of some `decisions` that have an appearance vector, with it."""

    def thoughts(self, events: I64) -> Thoughts:
        """What was thought when decisions were made, by the numbers of their events (N,), ascending."""

    def rows_of_identity(self, model_digest: str, global_ids: Sequence[GlobalId]) -> GalleryRows:
        """Everything that `decided` tells of some identities, in the same order."""

    def current_identity(self, global_id: GlobalId) -> GlobalId | None:
        """Itself, or the identity that a merged one lives on as; None for an unknown one."""

    def add_correction(self, request: CorrectionRequest, made_at: float) -> int:
        """Keep a correction for the matcher to apply, and return its number. Raises `InvalidQuery` for what it names
        and is unknown."""

    def pending_corrections(self, limit: int) -> list[Correction]:
        """Corrections that were not applied yet, in order."""

    def correction(self, number: int) -> Correction | None:
        """One of them; None for an unknown number."""

    def open_corrections(self) -> list[Correction]:
        """Those that are law now: applied and not undone."""

    def who_is_who(self, global_ids: Sequence[GlobalId], tracklet_ids: Sequence[TrackletId]) -> WhoIsWho:
        """Of these identities and those of these tracklets."""

    def events(self, event_ids: Sequence[int]) -> list[IdentityEvent]:
        """Some events, in order."""

    def add_vectors(self, seen: Sequence[TrackletEmbedding]) -> list[TrackletEmbedding]:
        """Write vectors without deciding anything, and return those that were new."""

    def undecided(self, model_digest: str, limit: int) -> list[TrackletEmbedding]:
        """Archived tracklets that have a vector of this model but no identity, the earliest first."""

    def model_switches(self, limit: int) -> list[ModelSwitch]:
        """The newest changes of the serving model, newest first; the first of them says which model serves."""

    def newest_vector_digest(self) -> str | None:
        """The model of the vector that was written last; None for a database without vectors."""

    def switch_model(self, model_digest: str, after: int, switched_at: float, reason: str) -> ModelSwitch | None:
        """Let a model serve if the whole archive has its vectors, in one transaction; None: not yet, or not any more.

        `after` is the number of the last switch known to the caller, 0 for none."""

    def keep_calibration(self, model_digest: str, kept: KeptCalibration) -> None:
        """Write one; a number that exists stays as it is. Old ones go."""

    def newest_calibration(self, model_digest: str) -> KeptCalibration | None:
        """The last one of a model; None before the first."""

    def archive_tracklet(self, tracklet: TrackletCrops) -> bool:
        """Rows for the crops of a tracklet whose blobs are already written. Repeats change nothing. Returns false, and
        keeps nothing, for one that was erased or comes when its time is over."""

    def doom_blobs(self, keys: Sequence[BlobKey]) -> None:
        """Have these blobs removed, but for those that some row names."""

    def gone(self, seen: Sequence[TrackletCrops | TrackletEmbedding], kind: Kind) -> set[TrackletId]:
        """Which of these tracklets are not to be kept (any more): erased, or beyond the time of a kind."""

    def pending_erasures(self) -> list[Receipt]:
        """Requests that were not applied yet, in order."""

    def erase(self, number: int, erased_at: float, marks_expire_at: float) -> list[IdentityEvent]:
        """Forget a person in one transaction; until the marks expire, nothing that comes late of her tracks is
        written. Repeats change nothing."""

    def vectors_kept_from(self) -> dict[CameraId, float]:
        """From when on the vectors of each camera are given out; a camera without a mark is not named."""

    def route(self, global_id: GlobalId) -> list[Sighting]: ...


class Blobs(Protocol):
    """Bytes by content address: fsspec folder or bucket in production, a dict in tests."""

    def put(self, content: bytes) -> BlobKey:
        """Durable when it returns. Raises `Unavailable` when the medium refuses."""

    def get(self, key: BlobKey) -> bytes | None: ...

    def delete(self, key: BlobKey) -> None: ...

"""Every value that crosses a process, and the few that cross a seam inside one.

Messages are frozen pydantic models: unknown fields are refused, units stand in the names (`_s` seconds, `_px` pixels,
`_at` UTC seconds since the epoch), vectors are little-endian float16 bytes of unit length. Values that stay inside a
process are frozen, slotted dataclasses without validation.

A message travels as msgpack with its type and version. A reader of version N accepts N-1.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, NewType, Self, TypeVar

import msgpack
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import InvalidMessage

CameraId = NewType("CameraId", str)
TrackId = NewType("TrackId", int)
TrackletId = NewType("TrackletId", str)
GlobalId = NewType("GlobalId", int)
BlobKey = NewType("BlobKey", str)

F16 = npt.NDArray[np.float16]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Image = npt.NDArray[np.uint8]  # (H, W, 3) RGB

MAX_CROP_BYTES = 512 * 1024
MAX_CROPS = 16
MAX_IN_VIEW = 200  # boxes of one report
MAX_DIMENSION = 4096
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Digest = Annotated[str, Field(min_length=8, max_length=64)]  # of a model; names its vectors
Vector = Annotated[bytes, Field(min_length=2, max_length=2 * MAX_DIMENSION)]


class StreamName(StrEnum):
    """The streams of one site."""

    CROPS = "crops"
    EMBEDDINGS = "embeddings"
    IDENTITIES = "identities"


class Message(BaseModel):
    """A value on the bus."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    VERSION: ClassVar[int] = 1


class Crop(Message):
    """One person cut out of one frame, as JPEG."""

    jpeg: Annotated[bytes, Field(min_length=4, max_length=MAX_CROP_BYTES)]
    captured_at: Finite
    box_px: tuple[Finite, Finite, Finite, Finite]  # x1, y1, x2, y2 in the frame
    frame_size_px: tuple[int, int]  # width, height
    score: Share  # the detector's
    sharpness: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]  # variance of the Laplacian at 128x64
    visibility: Share  # share of the box that is inside the frame and under no nearer box

    @model_validator(mode="after")
    def _box_has_area(self) -> Self:
        x1, y1, x2, y2 = self.box_px
        if x2 <= x1 or y2 <= y1:
            raise ValueError(f"box_px {self.box_px} has no area; expected x1 < x2 and y1 < y2")
        return self

    @property
    def key(self) -> BlobKey:
        """Address of the JPEG by its content: archiver and embedder agree on it without talking."""
        return blob_key(self.jpeg)


class TrackletCrops(Message):
    """One tracklet with its best crops; camera → embedder and archiver on the `crops` stream.

    A tracklet is a piece of a track of a few seconds; `sequence` counts the pieces of one track from 0. `boot_id` names
    one start of the camera worker, so that track numbers may begin again.
    """

    camera_id: Name
    boot_id: Name
    track_id: Annotated[int, Field(ge=0)]
    sequence: Annotated[int, Field(ge=0)]
    started_at: Finite
    ended_at: Finite
    sent_at: Finite  # by the clock of the camera worker
    detections: Annotated[int, Field(ge=1)]  # frames in which the person was seen
    is_last: bool  # the track ended with this piece
    crops: Annotated[tuple[Crop, ...], Field(min_length=1, max_length=MAX_CROPS)]  # best first

    @cached_property  # the matcher asks for it twenty times
    def tracklet_id(self) -> TrackletId:
        return tracklet_id(self.camera_id, self.boot_id, self.track_id, self.sequence)

    @model_validator(mode="after")
    def _time_goes_forward(self) -> Self:
        if self.ended_at < self.started_at:
            raise ValueError(f"ended_at {self.ended_at} lies before started_at {self.started_at}")
        return self


class TrackletEmbedding(Message):
    """How one tracklet looks; embedder → matcher on the `embeddings` stream. Keyed by tracklet and digest."""

    camera_id: Name
    boot_id: Name
    track_id: Annotated[int, Field(ge=0)]
    sequence: Annotated[int, Field(ge=0)]
    started_at: Finite
    ended_at: Finite
    detections: Annotated[int, Field(ge=1)]
    model_digest: Digest  # vectors of different digests are never compared
    appearance: Vector  # decides identity
    language: Vector  # answers text
    quality: Share  # of the best crop: how far the vector may be trusted
    crop_keys: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_CROPS)]  # best first

    @cached_property  # the matcher asks for it twenty times
    def tracklet_id(self) -> TrackletId:
        return tracklet_id(self.camera_id, self.boot_id, self.track_id, self.sequence)

    @model_validator(mode="after")
    def _vectors_are_unit(self) -> Self:
        for name in ("appearance", "language"):
            length = float(np.linalg.norm(unpack_vector(getattr(self, name))))
            if not math.isfinite(length) or abs(length - 1.0) > 0.02:
                raise ValueError(f"{name} has length {length:.3f}; expected a finite unit vector")
        if self.ended_at < self.started_at:
            raise ValueError(f"ended_at {self.ended_at} lies before started_at {self.started_at}")
        return self


class IdentityEventKind(StrEnum):
    ASSIGNED = "assigned"  # a tracklet got its identity
    MERGED = "merged"  # two identities are one person from now on
    SPLIT = "split"  # tracklets left an identity for another
    ERASED = "erased"  # the person was forgotten


class IdentityEvent(Message):
    """What was decided about a person; matcher → everybody on the `identities` stream. Keyed by `event_id`.

    Merged and split name every tracklet that went from `from_global_id` to `global_id`; a very large merge comes as
    several events.
    """

    VERSION: ClassVar[int] = 2  # 1 did not say what is tentative
    event_id: Annotated[int, Field(ge=1)]  # grows by one for each event of a site
    kind: IdentityEventKind
    decided_at: Finite
    global_id: int
    tracklet_ids: tuple[str, ...]
    from_global_id: int | None = None  # merged, split: where the tracklets were before
    camera_id: str | None = None
    started_at: Finite | None = None
    ended_at: Finite | None = None
    is_new: bool = False  # assigned, split: the identity was opened by this
    is_tentative: bool = False  # assigned: later evidence may well change it
    confidence: Share
    reason: Annotated[str, Field(max_length=400)]


class CameraState(StrEnum):
    CONNECTING = "connecting"
    UP = "up"
    STALLED = "stalled"
    DOWN = "down"
    ENDED = "ended"


class TrackInView(BaseModel):
    """Where somebody is in the newest picture. The box is in shares of the frame: x1, y1, x2, y2 from 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    track_id: Annotated[int, Field(ge=0)]
    box: tuple[Share, Share, Share, Share]


class CameraStatus(Message):
    """What one camera does now; camera worker → API, kept on the bus as the newest value only."""

    VERSION: ClassVar[int] = 2  # 1 did not say where people are
    camera_id: Name
    state: CameraState
    reported_at: Finite
    frame_at: Finite | None  # capture time of the newest frame
    width_px: int
    height_px: int
    analysed_fps: Annotated[float, Field(ge=0.0)]
    people: Annotated[int, Field(ge=0)]
    reconnects: Annotated[int, Field(ge=0)]
    detector: str
    address: str  # without credentials
    last_error: str = ""
    boot_id: Name | None = None  # names the tracks together with the camera
    in_view: Annotated[tuple[TrackInView, ...], Field(max_length=MAX_IN_VIEW)] = ()  # in the picture of this report


class ServingModel(Message):
    """With which model the site compares; matcher → embedders, kept as the newest value only."""

    digest: Digest
    since_at: Finite
    previous: Digest | None = None  # what served before


class LoadedModels(Message):
    """Of which models an embedder gives vectors; embedder → matcher, kept as the newest value of each embedder."""

    embedder: Name
    wanted: Digest | None  # what it was told to load, as far as its digest is known
    digests: tuple[Digest, ...]
    reported_at: Finite


MESSAGES: dict[str, type[Message]] = {
    kind.__name__: kind
    for kind in (TrackletCrops, TrackletEmbedding, IdentityEvent, CameraStatus, ServingModel, LoadedModels)
}


Kind = TypeVar("Kind", bound=Message)


def expect(kind: type[Kind], message: Message, stream: StreamName) -> Kind:
    """The message, if it is of the kind that belongs on `stream`. Raises `InvalidMessage` for any other."""
    if not isinstance(message, kind):
        raise InvalidMessage(
            f"a {type(message).__name__} stands on the stream of {stream.value}; expected {kind.__name__}: "
            "look for a program that publishes on the wrong stream"
        )
    return message


# --- values inside a process ------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture of one camera. `captured_at` is UTC seconds; `index` counts decoded frames of this stream."""

    camera_id: CameraId
    image: Image
    captured_at: float
    index: int


@dataclass(frozen=True, slots=True)
class Detections:
    """The persons found in one frame, as columns."""

    boxes: F32  # (N, 4) x1, y1, x2, y2 px
    scores: F32  # (N,)

    def __post_init__(self) -> None:
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4 or self.scores.shape != (len(self.boxes),):
            raise ValueError(f"boxes {self.boxes.shape} and scores {self.scores.shape}; expected (N, 4) and (N,)")

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls) -> Detections:
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class EarlierBox:
    """Where a track was in an earlier frame in which it was not told yet."""

    captured_at: float
    track_id: int
    box: F32  # (4,) x1, y1, x2, y2 px
    score: float


@dataclass(frozen=True, slots=True)
class Tracks:
    """The persons followed and seen in one frame, as columns."""

    track_ids: I64  # (N,)
    boxes: F32  # (N, 4) x1, y1, x2, y2 px
    scores: F32  # (N,)
    earlier: tuple[EarlierBox, ...] = ()  # of tracks that are told now, the latest first

    def __len__(self) -> int:
        return len(self.track_ids)

    @classmethod
    def none(cls) -> Tracks:
        return cls(np.zeros(0, np.int64), np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One encoder pass over N crops: two named vectors each, unit length, float32."""

    appearance: F32  # (N, A)
    language: F32  # (N, L)


# --- keys and bytes ------------------------------


def tracklet_id(camera_id: str, boot_id: str, track_id: int, sequence: int) -> TrackletId:
    """The same tracklet has the same name whoever computes it, however often it is delivered."""
    return TrackletId(f"{camera_id}/{boot_id}/{track_id}/{sequence}")


def tracklet_parts(name: TrackletId) -> tuple[str, str, int, int]:
    """Camera, boot, track and sequence of a tracklet: the inverse of `tracklet_id`."""
    camera_id, boot_id, track_id, sequence = name.split("/")
    return camera_id, boot_id, int(track_id), int(sequence)


def blob_key(content: bytes) -> BlobKey:
    """Content address: the first 40 hexadecimal digits of SHA-256."""
    return BlobKey(hashlib.sha256(content).hexdigest()[:40])


def pack_vector(vector: npt.NDArray[np.floating[Any]]) -> bytes:
    """(D,) unit vector → little-endian float16 bytes."""
    return np.asarray(vector).astype("<f2").tobytes()


def unpack_vector(data: bytes) -> F32:
    """Little-endian float16 bytes → (D,) float32, not renormalised."""
    return np.frombuffer(data, dtype="<f2").astype(np.float32)


def encode(message: Message) -> dict[str, bytes]:
    """The fields of a stream entry."""
    return {
        "type": type(message).__name__.encode(),
        "version": str(message.VERSION).encode(),
        "body": msgpack.packb(message.model_dump(mode="python"), use_bin_type=True),
    }


def decode(fields: dict[bytes, bytes]) -> Message:
    """A stream entry back to its message.

    Raises `InvalidMessage` for an unknown type, another version, an oversized or malformed body.
    """
    name = fields.get(b"type", b"").decode(errors="replace")
    kind = MESSAGES.get(name)
    if kind is None:
        raise InvalidMessage(f"message type {name[:60]!r} is unknown; expected one of {', '.join(MESSAGES)}")
    version = fields.get(b"version", b"").decode(errors="replace")
    accepted = {str(v) for v in (kind.VERSION, kind.VERSION - 1) if v >= 1}
    if version not in accepted:
        raise InvalidMessage(
            f"{name} of version {version[:20]!r}; this process reads {' and '.join(sorted(accepted))}: "
            "update the older side first, then replay the dead letters"
        )
    body = fields.get(b"body", b"")
    if len(body) > MAX_MESSAGE_BYTES:
        raise InvalidMessage(f"{name} has {len(body)} bytes; at most {MAX_MESSAGE_BYTES} are allowed")
    try:
        return kind.model_validate(msgpack.unpackb(body, raw=False, use_list=False))
    except ValidationError as error:
        raise InvalidMessage(f"{name}: {_first_problem(error)}") from error
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise InvalidMessage(f"{name} has an unreadable body ({type(error).__name__}); expected msgpack") from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in problem["loc"]) or "the whole"
    return f"{place}: {problem['msg']}"

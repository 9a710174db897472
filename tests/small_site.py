"""A small archive of people for tests of the search, the API and the page: a database, crops, cameras, an encoder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
from argon2 import PasswordHasher

from pipeline.adapters.account_store import SqlAccounts
from pipeline.adapters.audit_store import AuditStore
from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.disk import DiskUse
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.standing_book import StandingBook
from pipeline.adapters.status_board import MemoryStatusBoard
from pipeline.adapters.store import SqlStore
from pipeline.adapters.track_names import TrackNames
from pipeline.adapters.watch_book import WatchBook
from pipeline.contracts import (
    F32,
    CameraState,
    CameraStatus,
    Crop,
    Embeddings,
    GlobalId,
    Image,
    TrackletCrops,
    TrackletEmbedding,
    pack_vector,
)
from pipeline.decisions import Decision
from pipeline.forgetting import Keeping
from pipeline.interfaces import Blobs
from pipeline.search.models import SearchConfig, SearchModel
from pipeline.search.people import PeopleSearch
from pipeline.search.query import Calibration
from pipeline.search.text_calibration import TextCalibration
from reid_models.registry import Registry
from services.alert_desk import AlertDesk
from services.api.crop_views import CropViews
from services.api.dependencies import ApiDependencies
from services.api.live_wall import LiveWall
from services.api.long_work import LongWork
from services.api.passwords import Passwords
from services.models import ModelsInUse
from services.operations import Operations
from tests.fakes import DIGEST, HandClock, jpeg, painted
from tests.sqlite_files import new_database

NOW = 1_780_000_000.0  # 28 May 2026, 20:26:40 UTC
CALIBRATION = Calibration(slope=20.0, intercept=-13.0, threshold=0.75)
# Who is at least as similar as 0.75 is a match
WORDS = TextCalibration(slope=20.0, intercept=-13.0, per_word=0.0, thing_slope=20.0, thing_intercept=0.0, least=0.88)
DISK = DiskUse(2_000_000_000_000, 150_000_000_000, {"database": 31_400_000, "crops": 1_500_000_000_000})
COLOURS = {
    "red": (200, 30, 40),
    "green": (30, 160, 60),
    "blue": (40, 60, 200),
    "yellow": (230, 210, 40),
    "white": (225, 225, 225),
    "black": (25, 25, 28),
}
_OTHER_WORDS = frozenset(
    ("a", "an", "the", "and", "in", "with", "wearing", "person", "man", "woman", "coat", "shirt", "jacket")
)


class WardrobeEncoder:
    """`Encoder` that sees only the colour of the upper clothes, and knows only the names of colours."""

    digest = DIGEST

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        upper = [crop[len(crop) // 5 : len(crop) // 2, crop.shape[1] // 3 : -crop.shape[1] // 3] for crop in crops]
        vectors = np.stack([_direction(part.reshape(-1, 3).mean(0)) for part in upper])
        return Embeddings(appearance=vectors, language=vectors)

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        return np.stack([self._embed_text(sentence) for sentence in sentences])

    def unknown_words(self, sentence: str) -> list[str]:
        known = _OTHER_WORDS | COLOURS.keys()
        return [word for word in re.findall(r"[a-z]+", sentence.lower()) if word not in known]

    def _embed_text(self, sentence: str) -> F32:
        named = [COLOURS[word] for word in re.findall(r"[a-z]+", sentence.lower()) if word in COLOURS]
        return _direction(np.mean(named, axis=0)) if named else _direction(np.full(3, 128.0))


@dataclass(frozen=True, slots=True)
class Stay:
    """One tracklet to be written: who, where, how long before `NOW` it began, and what was seen."""

    global_id: int
    camera_id: str
    ago_s: float
    picture: Image
    lasted_s: float = 8.0

    @property
    def track_id(self) -> int:
        return round(self.ago_s * 10)


def record(store: SqlStore, blobs: Blobs, stays: Sequence[Stay], encoder: WardrobeEncoder | None = None) -> None:
    """Write the stays as archiver and matcher would."""
    encoder = encoder or WardrobeEncoder()
    for stay in stays:
        content = jpeg(stay.picture)
        started_at = NOW - stay.ago_s
        name = {
            "camera_id": stay.camera_id,
            "boot_id": "b1",
            "track_id": stay.track_id,
            "sequence": 0,
            "started_at": started_at,
            "ended_at": started_at + stay.lasted_s,
            "detections": 20,
        }
        crop = Crop(
            jpeg=content,
            captured_at=started_at + 1.0,
            box_px=(10.0, 10.0, 74.0, 202.0),
            frame_size_px=(640, 360),
            score=0.9,
            sharpness=200.0,
            visibility=1.0,
        )
        blobs.put(content)
        store.archive_tracklet(
            TrackletCrops.model_validate(name | {"sent_at": started_at + 9.0, "is_last": True, "crops": (crop,)})
        )
        seen = encoder.embed_images([stay.picture])
        embedding = TrackletEmbedding.model_validate(
            name
            | {
                "model_digest": encoder.digest,
                "appearance": pack_vector(seen.appearance[0]),
                "language": pack_vector(seen.language[0]),
                "quality": 0.9,
                "crop_keys": (crop.key,),
            }
        )
        decision = Decision(embedding, GlobalId(stay.global_id), is_new=False, confidence=0.9, reason="test")
        store.commit_decisions([decision], started_at + 9.0)


@dataclass(frozen=True, slots=True)
class SmallSite:
    """Everything a search needs."""

    store: SqlStore
    blobs: MemoryBlobs
    board: MemoryStatusBoard
    encoder: WardrobeEncoder
    search: PeopleSearch
    alerts: AlertDesk


def small_site(stays: Sequence[Stay] | None = None, folder: Path | None = None) -> SmallSite:
    """Three painted people before the cameras lobby, yard and gate; `lobby` is live and `yard` is down.

    With a `folder` the database lies there, and may be used by many threads.
    """
    store = SqlStore.in_memory() if folder is None else file_store(folder)
    blobs, board, encoder = MemoryBlobs(), MemoryStatusBoard(now=lambda: NOW), WardrobeEncoder()
    record(store, blobs, PAINTED_PEOPLE if stays is None else stays, encoder)
    board.report(camera_status("lobby", people=2), jpeg(painted((90, 90, 90), 90, 160)))
    board.report(camera_status("yard", CameraState.DOWN, last_error="connection refused; is the camera on?"), None)
    model = SearchModel(store, encoder, SearchConfig(text=WORDS, appearance=CALIBRATION), encoder.unknown_words)
    books = StandingBook(store.database), WatchBook(store.database)
    desk = AlertDesk(*books, lambda: model, HandClock(NOW), false_alarm_budget=0.1)
    return SmallSite(store, blobs, board, encoder, PeopleSearch(store, lambda: model), desk)


def api_dependencies(archive: SmallSite, **changes: Any) -> ApiDependencies:
    """The API over a site, on a clock that stands still and with passwords that cost nothing."""
    clock = HandClock(NOW)
    deps = ApiDependencies(
        search=archive.search,
        blobs=archive.blobs,
        board=LiveWall(archive.board, TrackNames(archive.store.database), clock, pause_s=0.0),
        corrections=archive.store,
        explanations=archive.store,
        forgetting=archive.store,
        keeping=lambda _: Keeping(30.0, 30.0, None),
        alerts=archive.alerts,
        clock=clock,
        zone=UTC,
        operations=Operations(
            MemoryBus(),
            Registry(Path("/nonexistent")),
            lambda: ModelsInUse(None, None),
            Path("/nonexistent"),
            lambda: DISK,
            clock,
        ),
        work=LongWork(clock),
        accounts=SqlAccounts(archive.store._database),
        audit=AuditStore(archive.store._database, clock),
        cameras_of_crop=archive.store.cameras_of_crop,
        crop_views=CropViews(archive.store.persons_of_crop, clock),
        passwords=Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)),
    )
    return replace(deps, **changes)


def file_store(folder: Path) -> SqlStore:
    """A store on a new SQLite file."""
    return SqlStore(new_database(folder))


def camera_status(
    camera_id: str, state: CameraState = CameraState.UP, *, people: int = 0, last_error: str = ""
) -> CameraStatus:
    """A report of a moment ago."""
    return CameraStatus(
        camera_id=camera_id,
        state=state,
        reported_at=NOW - 1.0,
        frame_at=NOW - 1.2,
        width_px=640,
        height_px=360,
        analysed_fps=8.0,
        people=people,
        reconnects=0,
        detector="motion",
        address="rtsp://192.0.2.7/stream",
        last_error=last_error,
    )


PAINTED_PEOPLE = (
    Stay(1, "lobby", 7200.0, painted(COLOURS["red"])),
    Stay(1, "yard", 3600.0, painted((190, 35, 45))),
    Stay(2, "yard", 1800.0, painted(COLOURS["blue"])),
    Stay(3, "gate", 60.0, painted(COLOURS["green"]), lasted_s=30.0),
)


def _direction(colour: np.ndarray[tuple[int, ...], np.dtype[np.floating]]) -> F32:
    """Colours as unit vectors, so that unlike ones are far apart; the last value keeps grey from being nothing."""
    vector = np.append((np.asarray(colour) - 128.0) / 128.0, 0.2).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)

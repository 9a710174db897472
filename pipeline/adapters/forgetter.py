"""The forgetter: removes what was kept long enough, and follows erasures to wherever something of a person may lie.

Whatever it does is a question to the database first, so after a kill the same questions give the rest. It works in
small parts with pauses between them: matcher and API come first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline import metrics
from pipeline.adapters.erasure_store import ErasureStore
from pipeline.contracts import (
    CameraId,
    IdentityEvent,
    IdentityEventKind,
    Message,
    StreamName,
    TrackletCrops,
    TrackletEmbedding,
    TrackletId,
)
from pipeline.errors import Unavailable
from pipeline.forgetting import Cutoffs, Followed, Keeping, Kind, Left, Receipt, cutoffs
from pipeline.interfaces import Blobs, Bus, Clock

log = logging.getLogger(__name__)


class TrainingSets(Protocol):
    """Copies of the archive that are made to learn from: those of the nights in production."""

    def clear(self) -> bool:
        """Remove them; false while somebody is at work with them, who removes them at the end."""


class Backups(Protocol):
    """Copies of the site that were made before."""

    def left_of(self, erasure: int) -> int:
        """How many may hold something of an erased person. Whoever makes them removes them after the next one."""


@dataclass(frozen=True, slots=True)
class NoBackups:
    """Of a site that makes none."""

    def left_of(self, _: int) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class ForgetterConfig:
    """How gently, and how soon."""

    part: int = 256  # tracklets or blobs at a time
    events_part: int = 20_000  # whose evidence is searched at a time
    pause_s: float = 0.05  # between two parts
    idle_s: float = 1.0
    retain_every_s: float = 60.0
    settle_s: float = 60.0  # after which every reader has followed an erasure, and nothing comes late
    retry_s: float = 30.0  # while something is left


class Forgetter:
    """`run_once` in a loop; one process of a site."""

    def __init__(
        self,
        store: ErasureStore,
        blobs: Blobs,
        bus: Bus,
        keeping: Callable[[CameraId], Keeping],
        training_sets: TrainingSets,
        clock: Clock,
        config: ForgetterConfig = ForgetterConfig(),
        backups: Backups = NoBackups(),
    ) -> None:
        """`keeping` tells for how long things of a camera are kept, also of one that is not there any more."""
        self._store = store
        self._blobs = blobs
        self._bus = bus
        self._keeping = keeping
        self._training_sets = training_sets
        self._clock = clock
        self._config = config
        self._backups = backups
        self._retain_at_s = float("-inf")
        self._follow_at: dict[int, float] = {}  # erasure → UTC seconds of the next look at it

    def run_once(self) -> None:
        """One look. Raises `Unavailable` while database, blobs or bus do not answer; the next look goes on."""
        self._follow_erasures()
        if self._clock.monotonic() >= self._retain_at_s:
            self.retain()
            self._retain_at_s = self._clock.monotonic() + self._config.retain_every_s
        self._clock.sleep(self._config.idle_s)

    def retain(self) -> None:
        """Remove everything whose time is over."""
        now = self._clock.now()
        wanted = {camera_id: cutoffs(self._keeping(camera_id), now) for camera_id in self._store.seen_cameras()}
        # All marks before the first removal: from here on nobody is given what is removed below.
        for camera_id, cutoff in wanted.items():
            self._store.advance_marks(camera_id, cutoff)
        for camera_id in wanted:
            for kind in Kind:
                self._clean(camera_id, kind)
        self._drop_blobs()
        self._drop_old_messages(wanted)
        self._store.drop_old_marks(now)
        for each in self._store.oldest(list(wanted)):
            age_s = 0.0 if each.began_at is None else now - each.began_at
            metrics.OLDEST_AGE.labels(each.camera_id, each.kind.value).set(age_s)

    def _clean(self, camera_id: CameraId, kind: Kind) -> None:
        while removed := self._store.clean(camera_id, kind, self._config.part):
            metrics.FORGOTTEN.labels(kind.value).inc(removed)
            self._clock.sleep(self._config.pause_s)

    def _drop_blobs(self, erasure: int | None = None) -> int:
        dropped = 0
        while keys := self._store.doomed_blobs(self._config.part, erasure):
            for key in keys:
                self._blobs.delete(key)
            # Noted last: a crash before it only deletes them again.
            self._store.blobs_are_gone(keys)
            dropped += len(keys)
            self._clock.sleep(self._config.pause_s)
        return dropped

    def _drop_old_messages(self, wanted: Mapping[CameraId, Cutoffs]) -> None:
        """The bus forgets what is acknowledged; where nobody reads, things would stay beyond their time."""
        newest = max((mark for cutoff in wanted.values() for mark in cutoff.values()), default=None)
        if newest is not None:
            for stream in StreamName:
                self._bus.discard(stream, lambda messages: [_is_old(each, wanted) for each in messages], newest)

    # --- erasures ------------------------------

    def _follow_erasures(self) -> None:
        now, unfinished = self._clock.now(), self._store.unfinished_erasures()
        asked_at = [each.made_at for each in (*unfinished, *self._store.pending_erasures())]
        metrics.ERASURE_OPEN.set(now - min(asked_at) if asked_at else 0.0)
        for receipt in unfinished:
            if now >= self._follow_at.get(receipt.number, now):
                self._follow(receipt, now)
        self._follow_at = {each.number: self._follow_at[each.number] for each in unfinished}

    def _follow(self, receipt: Receipt, now: float) -> None:
        """Remove what is left elsewhere, at once and again when everything has settled; then it is over."""
        number, settled_at = receipt.number, (receipt.erased_at or now) + self._config.settle_s
        is_settled = now >= settled_at
        messages = self._drop_messages(number, self._store.erased_names(number), is_settled)
        blobs, mentions = self._drop_blobs(number), self._scrub_mentions(number)
        self._store.note_followed(number, Followed(blobs=blobs, messages=messages, mentions=mentions))
        left = self._left(number, is_settled)
        if is_settled and left.is_nothing:
            left = Left(backups=self._left_in_backups(number))
        is_over = is_settled and left.is_nothing
        self._store.finish_erasure(number, left, now if is_over else None)
        self._follow_at[number] = now + self._config.retry_s if is_settled else settled_at
        log.info("erasure %d: %s", number, "nothing is left" if is_over else f"left so far: {left.model_dump()}")

    def _left(self, number: int, is_settled: bool) -> Left:
        """A search for whatever may still be there, after everything was removed."""
        sets = 0 if self._training_sets.clear() else 1
        messages = self._drop_messages(number, self._store.erased_names(number), is_settled)
        return self._store.left_of(number).model_copy(update={"training_sets": sets, "messages": messages})

    def _left_in_backups(self, number: int) -> int:
        try:
            return self._backups.left_of(number)
        except Unavailable as error:
            log.warning("erasure %d: %s", number, error)
            return 1  # at least: nobody can look, and the rest goes on

    def _scrub_mentions(self, number: int) -> int:
        scrubbed = 0
        while (more := self._store.scrub_mentions(number, self._config.events_part)) is not None:
            scrubbed += more
            self._clock.sleep(self._config.pause_s)
        return scrubbed

    def _drop_messages(self, number: int, names: Collection[TrackletId], with_the_news: bool) -> int:
        """From the bus and its dead letters. The news of the erasure itself stays until everybody had time to read."""

        def are_gone(messages: Sequence[Message]) -> list[bool]:
            pieces = [each for each in messages if isinstance(each, TrackletCrops | TrackletEmbedding)]
            erased = self._store.erased([piece.tracklet_id for piece in pieces])
            crops = [
                crop.key
                for piece in pieces
                if isinstance(piece, TrackletCrops) and piece.tracklet_id in erased
                for crop in piece.crops
            ]
            if crops:
                # The archiver may have written the crops of a message and have died before the rows.
                self._store.doom_blobs(crops, number)
            return [_tells_of(each, erased, names, with_the_news) for each in messages]

        return sum(self._bus.discard(stream, are_gone) for stream in StreamName)


def _tells_of(
    message: Message, erased: Collection[TrackletId], names: Collection[TrackletId], with_the_news: bool
) -> bool:
    if isinstance(message, TrackletCrops | TrackletEmbedding):
        return message.tracklet_id in erased
    if isinstance(message, IdentityEvent):
        is_meant = with_the_news or message.kind is not IdentityEventKind.ERASED
        return is_meant and any(name in names for name in message.tracklet_ids)
    return False


def _is_old(message: Message, wanted: Mapping[CameraId, Cutoffs]) -> bool:
    """Whether the time of what a message tells is over; of an event that names no camera, at the last camera's."""
    if isinstance(message, IdentityEvent):
        camera_id = CameraId(message.camera_id or "")
        known = [wanted[camera_id]] if camera_id in wanted else list(wanted.values())
        marks = [cutoff.get(Kind.EVENTS) for cutoff in known]
        return bool(marks) and all(mark is not None and message.decided_at < mark for mark in marks)
    if isinstance(message, TrackletCrops | TrackletEmbedding):
        kind = Kind.CROPS if isinstance(message, TrackletCrops) else Kind.VECTORS
        mark = wanted.get(CameraId(message.camera_id), {}).get(kind)
        return mark is not None and message.started_at < mark
    return False

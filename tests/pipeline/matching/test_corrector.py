"""Corrections in the matcher's loop: applied between batches, obeyed afterwards, published once whatever dies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.contracts import F32, GlobalId, IdentityEvent, StreamName, TrackletEmbedding, TrackletId
from pipeline.decisions import CorrectionKind, CorrectionRequest
from pipeline.errors import Unavailable
from pipeline.matching import corrector
from pipeline.matching.assignment import AssignmentConfig
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from tests.fakes import HandClock, SetModels, embedding, unit_vectors

LOOKS = unit_vectors(np.random.default_rng(4), 3)
NOW = 1_700_000_000.0


class Site:
    """A matcher with its bus and database; `seen` sends a tracklet and lets it be decided."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.bus = MemoryBus(monotonic=self.clock.monotonic)
        self.store = SqlStore.in_memory()
        self.matcher = self.started()

    def started(self, store: Any = None, bus: Any = None) -> MatcherWorker:
        models = SetModels(config=AssignmentConfig(threshold=0.6, midpoint=0.6))
        config = MatcherConfig(block_s=0.0)
        return MatcherWorker(bus or self.bus, store or self.store, ExactGallery, self.clock, config, models)

    def round(self) -> None:
        """One round in which the matcher looks for corrections."""
        self.clock.sleep(5.0)
        self.matcher.run_once()

    def send(self, *tracklets: TrackletEmbedding) -> None:
        self.bus.publish(StreamName.EMBEDDINGS, tracklets)
        self.round()

    def seen(self, camera_id: str, track_id: int, look: F32, at: float, sequence: int = 0) -> TrackletId:
        tracklet = embedding(camera_id, track_id, sequence, started_at=at, ended_at=at + 4.0, vector=look)
        self.send(tracklet)
        return tracklet.tracklet_id

    def person(self, name: TrackletId) -> int:
        return self.store.assignments([name])[name]

    def correct(self, kind: CorrectionKind, *named: Any, undoes: int | None = None) -> int:
        numbers = tuple(each for each in named if isinstance(each, int))
        names = tuple(each for each in named if isinstance(each, str))
        request = CorrectionRequest(kind, "anna", "seen it", numbers, names, undoes)  # type: ignore[arg-type]
        return self.store.add_correction(request, NOW)

    def published(self) -> list[IdentityEvent]:
        found: list[IdentityEvent] = []
        while deliveries := self.bus.consume(StreamName.IDENTITIES, "reader", "reader-1", 100, 0.0):
            found += [each.message for each in deliveries if isinstance(each.message, IdentityEvent)]
            self.bus.acknowledge(deliveries, "reader")
        return found


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_correction_is_applied_and_published_without_any_tracklet(site: Site) -> None:
    first, second = site.seen("gate", 1, LOOKS[0], 0.0), site.seen("hall", 2, LOOKS[1], 50.0)
    site.published()
    site.correct(CorrectionKind.MERGE, 1, 2)
    site.round()
    (event,) = site.published()
    assert (event.kind, event.from_global_id, event.global_id, event.tracklet_ids) == ("merged", 2, 1, (second,))
    assert event.reason == "correction 1 by anna: seen it" and event.confidence == 1.0
    assert site.person(first) == site.person(second) == 1
    assert site.store.corrections(9)[0].event_ids == (event.event_id,)


def test_the_matcher_knows_merged_people_by_either_look_and_numbers_go_on(site: Site) -> None:
    site.seen("gate", 1, LOOKS[0], 0.0)
    site.seen("hall", 2, LOOKS[1], 50.0)
    site.correct(CorrectionKind.MERGE, 2, 1)
    site.seen("yard", 3, LOOKS[2], 100.0)
    both = (LOOKS[0] + LOOKS[1]) / np.linalg.norm(LOOKS[0] + LOOKS[1])
    assert site.person(site.seen("hall", 9, both.astype(np.float32), 200.0)) == 2
    assert [site.person(TrackletId(name)) for name in ("gate/b1/1/0", "hall/b1/2/0", "yard/b1/3/0")] == [2, 2, 3]


def test_somebody_in_view_goes_on_as_the_person_that_a_split_made(site: Site) -> None:
    site.seen("gate", 1, LOOKS[0], 0.0)
    walking = site.seen("hall", 2, LOOKS[0], 50.0)
    site.correct(CorrectionKind.SPLIT, 1, walking)
    next_piece = site.seen("hall", 2, LOOKS[0], 55.0, sequence=1)
    assert site.person(walking) == site.person(next_piece) == 2


def test_a_track_that_was_cut_goes_on_as_its_later_half(site: Site) -> None:
    pieces = [site.seen("gate", 1, LOOKS[0], 5.0 * number, number) for number in range(3)]
    site.correct(CorrectionKind.NOT_SAME, pieces[0], pieces[2])
    assert site.person(site.seen("gate", 1, LOOKS[0], 20.0, 3)) == 2
    assert [site.person(piece) for piece in pieces] == [1, 1, 2]


def test_a_redelivered_tracklet_does_not_bring_the_old_identity_back(site: Site) -> None:
    site.seen("gate", 1, LOOKS[0], 0.0)
    again = embedding("hall", 2, started_at=50.0, ended_at=54.0, vector=LOOKS[1])
    site.send(again)
    site.correct(CorrectionKind.MERGE, 1, 2)
    site.round()
    before = site.store.events_after(0, 100)
    site.send(again, again)
    site.matcher = site.started()
    site.send(again)
    assert site.person(again.tracklet_id) == 1
    assert site.store.events_after(0, 100) == before
    assert site.store.current_identity(GlobalId(2)) == 1


def test_an_undo_gives_the_number_back_to_whom_it_belonged(site: Site) -> None:
    site.seen("gate", 1, LOOKS[0], 0.0)
    second = site.seen("hall", 2, LOOKS[1], 50.0)
    number = site.correct(CorrectionKind.MERGE, 1, 2)
    site.round()
    site.correct(CorrectionKind.UNDO, undoes=number)
    site.round()
    assert site.person(second) == 2
    assert site.person(site.seen("yard", 3, LOOKS[1], 100.0)) == 2
    assert [event.kind for event in site.published()] == ["assigned", "assigned", "merged", "split", "assigned"]


def test_corrections_that_wait_are_applied_in_order(site: Site) -> None:
    first, second = site.seen("gate", 1, LOOKS[0], 0.0), site.seen("hall", 2, LOOKS[1], 50.0)
    number = site.correct(CorrectionKind.MERGE, 1, 2)
    site.correct(CorrectionKind.UNDO, undoes=number)
    site.correct(CorrectionKind.SAME, second, first)
    site.round()
    assert site.person(first) == site.person(second) == 2
    assert all(each.applied_at is not None for each in site.store.corrections(9))


class Dies(BaseException):
    """The process ends here."""


class Deadly:
    """Dies at the first call of one method: before it has an effect, or as soon as it has had it."""

    def __init__(self, inner: object, method: str, *, is_late: bool) -> None:
        self._inner, self._method, self._is_late = inner, method, is_late

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name != self._method:
            return method

        def deadly(*arguments: object) -> object:
            if self._is_late:
                method(*arguments)
            raise Dies

        return deadly


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("call", ["commit_decisions", "publish", "mark_published"])
def test_a_matcher_that_dies_over_a_correction_applies_it_once_and_tells_of_it(
    site: Site, call: str, is_late: bool
) -> None:
    site.seen("gate", 1, LOOKS[0], 0.0)
    second = site.seen("hall", 2, LOOKS[1], 50.0)
    site.published()
    site.correct(CorrectionKind.SPLIT, 1, TrackletId("gate/b1/1/0"))  # says nothing, but takes its turn
    site.correct(CorrectionKind.MERGE, 1, 2)
    deadly_bus = Deadly(site.bus, call, is_late=is_late) if call == "publish" else site.bus
    deadly_store = site.store if call == "publish" else Deadly(site.store, call, is_late=is_late)
    with pytest.raises(Dies):
        site.started(deadly_store, deadly_bus).run_once()
    site.matcher = site.started()
    site.round()
    assert site.person(second) == 1
    events = {event.event_id: event for event in site.published()}
    assert [(event.kind, event.global_id) for event in events.values()] == [("merged", 1)]
    assert site.store.unpublished_events(9) == []


def test_while_the_database_is_away_the_correction_waits(site: Site) -> None:
    site.seen("gate", 1, LOOKS[0], 0.0)
    second = site.seen("hall", 2, LOOKS[1], 50.0)
    site.correct(CorrectionKind.MERGE, 1, 2)

    class Away:
        is_away = True

        def __getattr__(self, name: str) -> Any:
            if self.is_away and name == "commit_decisions":
                raise Unavailable("away")
            return getattr(site.store, name)

    away = Away()
    site.matcher = site.started(away)
    with pytest.raises(Unavailable):
        site.round()
    away.is_away = False
    site.round()
    assert site.person(second) == 1


def test_a_correction_that_the_matcher_stumbles_over_stops_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.seen("gate", 1, LOOKS[0], 0.0)
    site.seen("hall", 2, LOOKS[1], 50.0)

    def stumbling(*_: object) -> None:
        raise ArithmeticError("thirteen")

    monkeypatch.setattr(corrector, "effect_of", stumbling)
    site.correct(CorrectionKind.MERGE, 1, 2)
    third = site.seen("yard", 3, LOOKS[2], 100.0)
    assert site.person(third) == 3
    (failed,) = site.store.corrections(9)
    assert failed.outcome == "nothing: the matcher failed on it (ArithmeticError); its log says more"

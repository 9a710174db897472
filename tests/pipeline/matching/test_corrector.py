"""Corrections in the matcher's loop: applied between batches, obeyed afterwards, published once whatever dies."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters.bus_rules import BusConfig
from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.contracts import F32, GlobalId, IdentityEvent, StreamName, TrackletEmbedding, TrackletId
from pipeline.decisions import CorrectionKind, CorrectionRequest
from pipeline.errors import InvalidQuery, Unavailable
from pipeline.matching import corrector
from pipeline.matching.laws import Laws
from pipeline.matching.people import MemoryConfig
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from tests.fakes import DIGEST, HandClock, SetModels, embedding, unit_vectors
from tests.pipeline.matching.one_matcher import Deadly, Interrupted, Killed

LOOKS = unit_vectors(np.random.default_rng(4), 3)
NOW = 1_700_000_000.0


class Site:
    """A matcher with its bus and database; `seen` sends a tracklet and lets it be decided."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.bus = MemoryBus(BusConfig(redelivery_count=64, max_deliveries=100), monotonic=self.clock.monotonic)
        self.store = SqlStore.in_memory()
        self.matcher = self.started()

    def started(self, store: Any = None, bus: Any = None) -> MatcherWorker:
        models = SetModels()
        config = MatcherConfig(block_s=0.0, memory=MemoryConfig(exemplars=3))
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


@pytest.mark.parametrize("kind", [CorrectionKind.NOT_SAME, CorrectionKind.SPLIT])
def test_the_matcher_does_not_merge_again_whom_a_correction_has_parted(
    site: Site, kind: CorrectionKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = site.seen("gate", 1, LOOKS[0], 0.0), site.seen("hall", 2, LOOKS[0], 20.0)
    assert site.person(first) == site.person(second) == 1
    site.correct(kind, *((first, second) if kind is CorrectionKind.NOT_SAME else (1, second)))
    for sequence in (1, 2):
        assert site.person(site.seen("hall", 2, LOOKS[0], 20.0 + 5.0 * sequence, sequence)) == 2
        site.matcher = site.started()  # a restart does not forget the law either
    assert (site.person(first), site.person(second)) == (1, 2)
    monkeypatch.setattr(Laws, "forbidden", lambda *_: frozenset())
    site.seen("hall", 2, LOOKS[0], 35.0, 3)
    assert site.person(first) == site.person(second) == 1, "only the law kept them apart"


def test_a_third_who_looks_like_two_that_are_law_is_merged_with_neither(site: Site) -> None:
    site.seen("gate", 1, LOOKS[0], 0.0)
    second = site.seen("hall", 2, LOOKS[0], 0.0)
    site.correct(CorrectionKind.SPLIT, 1, second)
    pieces = [site.seen("yard", 3, LOOKS[0], 10.0 + 5.0 * sequence, sequence) for sequence in range(3)]
    assert {site.person(piece) for piece in pieces} == {3}


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
    with pytest.raises(Killed):
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


# --- whatever dies, whenever ------------------------------------------------------------------------------------------


def somebody(rng: np.random.Generator, number: int) -> TrackletEmbedding:
    """The next tracklet of three people who walk past two cameras; every third continues the track before it."""
    track, sequence = divmod(number, 3) if number % 3 else (number // 3, 0)
    look = LOOKS[track % 3] + 0.2 * rng.standard_normal(16)
    at = 10.0 * track + 5.0 * sequence
    vector = (look / np.linalg.norm(look)).astype(np.float32)
    return embedding(f"camera-{track % 2}", track, sequence, started_at=at, ended_at=at + 4.0, vector=vector)


def correct_somebody(site: Site, choice: int) -> None:
    """A correction that depends on nothing but `choice` and what was decided."""
    names = [TrackletId(name) for event in site.store.events_after(0, 1000) for name in event.tracklet_ids]
    made = [each.number for each in site.store.corrections(99) if each.request.undoes is None]
    first, second = names[choice % len(names)], names[choice * 7 % len(names)]
    people = sorted({site.person(first), site.person(second)})
    kind = list(CorrectionKind)[choice % 5]
    with contextlib.suppress(InvalidQuery):  # not every choice makes sense
        if kind is CorrectionKind.MERGE:
            site.correct(kind, *people)
        elif kind is CorrectionKind.SPLIT:
            site.correct(kind, site.person(first), first)
        elif kind is CorrectionKind.UNDO:
            site.correct(kind, undoes=made[choice % len(made)] if made else 99)
        else:
            site.correct(kind, first, second)


rounds = st.lists(
    st.tuples(
        st.integers(1, 6),  # tracklets
        st.none() | st.integers(0, 10_000),  # a correction
        st.none() | st.tuples(st.booleans(), st.integers(0, 12), st.booleans()),  # killed where
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(rounds, st.integers(0, 3))
def test_killed_anywhere_it_corrects_and_decides_as_if_nothing_had_happened(plan: list[Any], seed: int) -> None:
    calm, killed = Site(), Site()
    rng, count = np.random.default_rng(seed), 0
    for tracklets, choice, death in plan:
        sent = [somebody(rng, count + number) for number in range(tracklets)]
        count += tracklets
        for site in (calm, killed):
            if choice is not None and site.store.counts().tracklets:
                correct_somebody(site, choice)
            site.bus.publish(StreamName.EMBEDDINGS, sent)
        calm.round()
        if death is not None:
            is_bus, calls, is_late = death
            dying = Interrupted(killed.bus if is_bus else killed.store, Killed(), calls, is_late=is_late)
            with contextlib.suppress(Killed):
                killed.started(None if is_bus else dying, dying if is_bus else None).run_once()
            killed.bus = killed.bus.restarted()
        killed.matcher = killed.started()
        killed.round()
    assert outcome(killed) == outcome(calm)
    assert (
        killed.store.decided(DIGEST, 0, 99)[0].global_ids.tolist()
        == calm.store.decided(DIGEST, 0, 99)[0].global_ids.tolist()
    )
    for site in (calm, killed):
        site.store.close()


def outcome(site: Site) -> tuple[object, ...]:
    """Everything that was decided and said, but for when."""
    events = [event.model_copy(update={"decided_at": 0.0}) for event in site.store.events_after(0, 1000)]
    said = {event.event_id: event.model_copy(update={"decided_at": 0.0}) for event in site.published()}
    assert list(said.values()) == events
    opened = [event.global_id for event in events if event.is_new]
    assert len(opened) == len(set(opened))
    laws = [dataclasses.replace(each, applied_at=0.0) for each in site.store.corrections(99)]
    return events, laws, site.store.unpublished_events(1)

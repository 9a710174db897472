"""A matcher that dies at any moment and is started again: nobody can tell afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.contracts import IdentityEvent, IdentityEventKind, StreamName, TrackletEmbedding
from pipeline.kept import KeptCalibration
from pipeline.matching.worker import GROUP, MatcherWorker
from tests.pipeline.matching.one_matcher import (
    BATCH,
    SEED,
    Deadly,
    Interrupted,
    Killed,
    bus,
    calibrated,
    outcome,
    published,
    site,
    worker,
)

BEFORE = 28  # tracklets, so that soon after them the site is calibrated for the first time
TRACKLETS = site(9 * BATCH, SEED)


@dataclass
class Played:
    """What came of a stream: all that was decided, and the calibration that was in force after each batch."""

    bus: MemoryBus = field(default_factory=bus)
    store: SqlStore = field(default_factory=SqlStore.in_memory)
    calibrations: list[KeptCalibration | None] = field(default_factory=list)

    def started(self) -> MatcherWorker:
        return worker(self.bus, self.store)

    def play(self, batch: list[TrackletEmbedding], run: Callable[[], None]) -> None:
        self.bus.publish(StreamName.EMBEDDINGS, batch)
        run()
        self.calibrations.append(calibrated(self.store))

    @cached_property
    def events(self) -> list[IdentityEvent]:
        """In the end; all of them were published."""
        events = outcome(self.store)
        assert published(self.bus.restarted()) == events
        return events


def in_batches() -> list[list[TrackletEmbedding]]:
    return [TRACKLETS[start : start + BATCH] for start in range(0, len(TRACKLETS), BATCH)]


@pytest.fixture(scope="module")
def undisturbed() -> Played:
    """One matcher from the first tracklet to the last, which merges and learns on the way."""
    played = Played()
    matcher = played.started()
    for batch in in_batches():
        played.play(batch, lambda: exhaust(matcher))
    kinds = Counter(event.kind for event in played.events)
    assert kinds[IdentityEventKind.MERGED] >= 2
    numbers = [kept.number if kept else 0 for kept in played.calibrations]
    assert numbers[0] == 0 and numbers[-1] >= 2
    merges_at = [place for place, batch in enumerate(merges_by_batch(played)) if batch]
    assert any(numbers[place] == 0 for place in merges_at) and any(numbers[place] > 0 for place in merges_at)
    return played


def merges_by_batch(played: Played) -> list[int]:
    """How many merges came after each batch, in the order of events."""
    found: list[int] = []
    seen = 0
    for event in played.events:
        if event.kind is IdentityEventKind.ASSIGNED:
            if seen % BATCH == 0:
                found.append(0)
            seen += 1
        else:
            found[-1] += 1
    return found


def exhaust(matcher: MatcherWorker) -> None:
    while matcher.run_once():
        pass


def decides(decisions: object, *_: object) -> bool:
    return bool(decisions)


def merges(decisions: object, *_: object) -> bool:
    return not decisions


@pytest.mark.parametrize(
    ("where", "call", "is_late", "is_meant"),
    [
        pytest.param("store", "keep_calibration", False, None, id="before a calibration is kept"),
        pytest.param("store", "keep_calibration", True, None, id="after a calibration was kept"),
        pytest.param("store", "commit_decisions", False, decides, id="before decisions are committed"),
        pytest.param("store", "commit_decisions", True, decides, id="after decisions were committed"),
        pytest.param("store", "commit_decisions", False, merges, id="before merges are committed"),
        pytest.param("store", "commit_decisions", True, merges, id="after merges were committed"),
        pytest.param("bus", "publish", False, None, id="before events are published"),
        pytest.param("store", "mark_published", False, None, id="after events were published"),
        pytest.param("bus", "acknowledge", False, None, id="before the batch is acknowledged"),
        pytest.param("bus", "acknowledge", True, None, id="after the batch was acknowledged"),
    ],
)
def test_one_that_dies_there_whenever_it_comes_there_leaves_what_an_undisturbed_one_does(
    undisturbed: Played, where: str, call: str, is_late: bool, is_meant: Callable[..., bool] | None
) -> None:
    played, deaths = Played(), 0

    def die_and_start_again() -> None:
        nonlocal deaths
        whose = {"bus": played.bus, "store": played.store}
        deadly = Deadly(whose[where], call, is_late=is_late, is_meant=is_meant or (lambda *_: True))
        dying = whose | {where: deadly}
        try:
            exhaust(worker(dying["bus"], dying["store"]))  # type: ignore[arg-type]  # proxies
        except Killed:
            deaths += 1
            played.bus = played.bus.restarted()
        exhaust(played.started())
        played.bus = played.bus.restarted()

    for batch in in_batches():
        played.play(batch, die_and_start_again)
    expected = {"keep_calibration": 2, "commit_decisions": len(in_batches()) if is_meant is decides else 2}
    assert deaths >= expected.get(call, len(in_batches()))
    assert played.events == undisturbed.events
    assert played.calibrations == undisturbed.calibrations
    assert played.bus.backlog(StreamName.EMBEDDINGS, GROUP).pending == 0
    assert played.bus.dead_letters(5) == []
    played.store.close()


plans = st.lists(
    st.tuples(
        st.integers(1, 12),  # tracklets published before the round
        st.none() | st.tuples(st.sampled_from(["bus", "store"]), st.integers(0, 9), st.booleans()),  # killed where
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plans, st.integers(0, 5))
def test_killed_anywhere_and_started_again_it_decides_as_if_nothing_had_happened(
    plan: list[tuple[int, tuple[str, int, bool] | None]], seed: int
) -> None:
    tracklets = site(BEFORE + sum(count for count, _ in plan), seed)
    plan = [(BEFORE, None), *plan]
    undisturbed, calm_store, killed, store = bus(), SqlStore.in_memory(), bus(), SqlStore.in_memory()
    calm = worker(undisturbed, calm_store)
    for count, kill in plan:
        due, tracklets = tracklets[:count], tracklets[count:]
        undisturbed.publish(StreamName.EMBEDDINGS, due)
        killed.publish(StreamName.EMBEDDINGS, due)
        while calm.run_once():
            pass
        if kill is not None:
            where, after, is_late = kill
            dying = Interrupted(killed if where == "bus" else store, Killed(), after, is_late=is_late)
            try:
                worker(dying if where == "bus" else killed, dying if where == "store" else store).run_once()
            except Killed:
                killed = killed.restarted()
        fresh = worker(killed, store)
        while fresh.run_once():
            pass
        killed = killed.restarted()
    assert outcome(store) == outcome(calm_store)
    assert calibrated(store) == calibrated(calm_store)
    assert published(killed) == published(undisturbed) == outcome(store)
    assert killed.backlog(StreamName.EMBEDDINGS, GROUP).pending == 0
    assert killed.dead_letters(5) == []
    calm_store.close()
    store.close()

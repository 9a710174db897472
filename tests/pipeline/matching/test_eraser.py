"""Erasures and retention in the matcher's loop: applied between batches, followed by its memory, once whatever dies."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from pipeline.contracts import F32, CameraId, GlobalId, IdentityEventKind, StreamName
from pipeline.errors import Unavailable
from pipeline.forgetting import ErasureRequest, Found, Kind
from tests.fakes import embedding, unit_vectors
from tests.pipeline.matching.one_matcher import Deadly, Interrupted, Killed
from tests.pipeline.matching.test_corrector import LOOKS, NOW, Site


@pytest.fixture
def site() -> Site:
    """Person 1 at gate, person 2 in the hall, and a matcher that knows both."""
    site = Site()
    site.seen("gate", 1, LOOKS[0], 0.0)
    site.seen("hall", 2, LOOKS[1], 50.0)
    site.published()
    return site


def ask(site: Site, person: int = 1) -> int:
    return site.store.add_erasure(ErasureRequest(GlobalId(person), "anna", "case 7"), Found(), NOW)


def test_an_erasure_is_applied_and_published_without_any_tracklet(site: Site) -> None:
    number = ask(site)
    site.round()
    (event,) = site.published()
    assert (event.kind, event.global_id, event.tracklet_ids) == (IdentityEventKind.ERASED, 1, ("gate/b1/1/0",))
    receipt = site.store.receipt(number)
    assert (
        receipt is not None
        and receipt.erased_at == site.clock.now()
        and receipt.removed == Found(tracklets=1, vectors=1, events=1)
    )


def test_the_matcher_knows_the_erased_look_no_more(site: Site) -> None:
    ask(site)
    site.round()
    assert site.person(site.seen("yard", 3, LOOKS[0], 100.0)) == 3
    assert site.person(site.seen("yard", 4, LOOKS[1], 120.0)) == 2


def test_late_pieces_of_an_erased_track_are_done_with_and_begin_nobody(site: Site) -> None:
    ask(site)
    site.round()
    late = embedding("gate", 1, 1, started_at=5.0, ended_at=9.0, vector=LOOKS[0])
    again = embedding("gate", 1, 0, started_at=0.0, ended_at=4.0, vector=LOOKS[0])
    site.send(late, again)
    assert site.store.tracklets([late.tracklet_id, again.tracklet_id]) == {}
    assert site.store.counts().identities == 1 and site.bus.backlog(StreamName.EMBEDDINGS, "matcher").pending == 0


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("method", ["erase", "publish", "mark_published"])
def test_a_matcher_that_dies_over_an_erasure_applies_it_once_and_tells_of_it(
    site: Site, method: str, is_late: bool
) -> None:
    number = ask(site)
    store = Deadly(site.store, method, is_late=is_late)
    bus = Deadly(site.bus, method, is_late=is_late)
    site.matcher = site.started(store, bus)
    with contextlib.suppress(Killed):
        site.round()
    site.matcher = site.started()
    site.round()
    told = {event.event_id: (event.kind, event.global_id) for event in site.published()}
    assert list(told.values()) == [("erased", 1)]
    receipt = site.store.receipt(number)
    assert receipt is not None and receipt.removed == Found(tracklets=1, vectors=1, events=1)
    assert site.person(site.seen("yard", 3, LOOKS[0], 100.0)) == 3


def test_while_the_database_is_away_the_erasure_waits(site: Site) -> None:
    number = ask(site)
    site.matcher = site.started(Interrupted(site.store, Unavailable("away"), 0, method="erase"))
    with pytest.raises(Unavailable):
        site.round()
    site.round()
    receipt = site.store.receipt(number)
    assert receipt is not None and receipt.erased_at is not None


def test_an_erasure_that_the_matcher_stumbles_over_stops_nobody(site: Site) -> None:
    number = ask(site)
    site.matcher = site.started(Interrupted(site.store, RuntimeError("a bug"), 0, method="erase"))
    site.round()
    assert [each.number for each in site.store.pending_erasures()] == [number]
    assert site.person(site.seen("yard", 4, LOOKS[1], 120.0)) == 2
    site.round()
    assert site.store.pending_erasures() == []


def test_a_look_that_was_kept_long_enough_joins_nobody_any_more(site: Site) -> None:
    site.seen("gate", 5, LOOKS[1], 80.0)  # person 2, once more and later
    site.store.advance_marks(CameraId("gate"), {Kind.VECTORS: 60.0})
    site.store.advance_marks(CameraId("hall"), {Kind.VECTORS: 60.0})
    site.round()
    assert site.person(site.seen("yard", 6, LOOKS[0], 100.0)) == 3
    assert site.person(site.seen("yard", 7, LOOKS[1], 120.0)) == 2


def test_a_look_that_was_kept_long_enough_is_nowhere_in_memory(site: Site) -> None:
    people = site.matcher._people
    assert people is not None
    held = (people.exemplars._vectors, people.identities._looks, people._gallery._vectors)  # type: ignore[attr-defined]
    people.describe()
    assert all(_holds(vectors, LOOKS[0]) and _holds(vectors, LOOKS[1]) for vectors in held)
    site.store.advance_marks(CameraId("gate"), {Kind.VECTORS: 60.0})
    site.round()
    assert site.matcher._people is people
    assert [_holds(vectors, LOOKS[0]) for vectors in held] == [False] * 3
    assert all(_holds(vectors, LOOKS[1]) for vectors in held)


def _holds(vectors: np.ndarray, look: F32) -> bool:  # type: ignore[type-arg]
    lengths = np.linalg.norm(vectors.astype(float), axis=1)
    return bool((vectors.astype(float) @ look > 0.99 * np.maximum(lengths, 0.1)).any())


def test_a_memory_that_followed_the_marks_decides_as_one_that_begins_with_them() -> None:
    looks = unit_vectors(np.random.default_rng(11), 6)
    decided: list[list[int]] = []
    for is_restarted in (False, True):
        site = Site()
        site.send(
            *(
                embedding("gate", n, started_at=20.0 * n, ended_at=20.0 * n + 4.0, vector=looks[n % 6])
                for n in range(30)
            )
        )
        site.store.advance_marks(CameraId("gate"), {Kind.VECTORS: 300.0})
        site.round()
        if is_restarted:
            site.matcher = site.started()
        decided.append([site.person(site.seen("hall", n, looks[n], 700.0 + 10.0 * n)) for n in range(6)])
    assert decided[0] == decided[1]

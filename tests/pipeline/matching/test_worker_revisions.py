"""The matcher's second thoughts, and what its site teaches it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from pipeline.adapters.store import SqlStore
from pipeline.contracts import IdentityEvent, IdentityEventKind, StreamName, TrackletEmbedding, TrackletId
from pipeline.errors import Unavailable
from pipeline.matching import reviser
from pipeline.matching import worker as worker_module
from pipeline.matching.revision import merges
from tests.fakes import HandClock, embedding, unit_vectors
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


def stream_with_merges() -> list[list[TrackletEmbedding]]:
    tracklets = site(48, SEED)
    return [tracklets[start : start + BATCH] for start in range(0, len(tracklets), BATCH)]


def merges_in(events: Sequence[IdentityEvent]) -> list[IdentityEvent]:
    return [event for event in events if event.kind is IdentityEventKind.MERGED]


def revised(kind: str) -> float:
    return REGISTRY.get_sample_value("sightline_identity_revisions_total", {"kind": kind}) or 0.0


def test_late_merges_are_published_counted_and_explained(store: SqlStore) -> None:
    stream, before = bus(), revised("merged")
    matcher = worker(stream, store)
    for batch in stream_with_merges():
        stream.publish(StreamName.EMBEDDINGS, batch)
        matcher.run_once()
    found = merges_in(outcome(store))
    assert found and published(stream) == outcome(store)
    assert revised("merged") - before == len(found)
    now = store.assignments([each.tracklet_id for batch in stream_with_merges() for each in batch])
    for event in found:
        assert event.from_global_id is not None and event.from_global_id > event.global_id
        assert event.from_global_id not in now.values()
        told = store.explanation(TrackletId(event.tracklet_ids[0]))
        assert told is not None
        (reasoned,) = (change for change in told.changes if change.event.event_id == event.event_id)
        assert reasoned.evidence is not None
        assert reasoned.evidence.candidates[0].probability >= reasoned.evidence.threshold


def test_a_redelivered_batch_repeats_merges_that_are_missing_and_learns_nothing(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = bus()
    matcher = worker(stream, store)
    last, calm = None, SqlStore.in_memory()
    for batch in stream_with_merges():
        stream.publish(StreamName.EMBEDDINGS, batch)
        with monkeypatch.context() as patch:
            patch.setattr(reviser, "merges", lambda *_: [])  # died before them, each time
            matcher.run_once()
        taught = calibrated(store)
        monkeypatch.setattr(worker_module, "is_due", lambda *_: True)
        stream.publish(StreamName.EMBEDDINGS, batch)
        matcher = worker(stream, store)
        matcher.run_once()
        monkeypatch.undo()
        assert calibrated(store) == taught
        if merges_in(outcome(store)):
            last = batch
            break
    assert last is not None
    other = bus()
    undisturbed = worker(other, calm)
    for batch in stream_with_merges():
        other.publish(StreamName.EMBEDDINGS, batch)
        undisturbed.run_once()
        if batch == last:
            break
    assert outcome(store) == outcome(calm)


def test_one_that_died_between_two_rounds_of_merges_weighs_those_whom_an_undisturbed_one_weighs(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighed: list[list[int]] = []

    def noted(people: Any, touched: Sequence[Any]) -> Any:
        weighed.append(sorted({int(number) for number in touched if number in people.identities}))
        return merges(people, touched)

    monkeypatch.setattr(reviser, "merges", noted)
    calm_stream, stream = bus(), bus()
    calm = worker(calm_stream, SqlStore.in_memory())
    deaths = 0
    for batch in stream_with_merges():
        calm_stream.publish(StreamName.EMBEDDINGS, batch)
        calm.run_once()
        undisturbed, weighed[:] = list(weighed), []
        stream.publish(StreamName.EMBEDDINGS, batch)
        deadly = Deadly(store, "commit_decisions", is_late=True, is_meant=lambda decisions, *_: not decisions)
        try:
            worker(stream, deadly).run_once()  # type: ignore[arg-type]  # a proxy
        except Killed:
            deaths += 1
            stream, weighed[:] = stream.restarted(), weighed[:1]
            worker(stream, store).run_once()
        assert weighed == undisturbed
        weighed.clear()
    assert deaths


def test_a_merge_that_does_not_fit_any_more_is_decided_again(store: SqlStore) -> None:
    class Overtaken:
        """The store of a matcher whose first merge somebody else has written before it."""

        is_overtaken = False

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def commit_decisions(self, decisions: Any, decided_at: float, revisions: Any = (), applied: Any = None) -> Any:
            if revisions and not self.is_overtaken:
                self.is_overtaken = True
                store.commit_decisions((), decided_at, revisions)
            return store.commit_decisions(decisions, decided_at, revisions, applied)

    stream, overtaken = bus(), Overtaken()
    matcher = worker(stream, overtaken)  # type: ignore[arg-type]  # a proxy
    refused = 0
    for batch in stream_with_merges():
        stream.publish(StreamName.EMBEDDINGS, batch)
        try:
            matcher.run_once()
        except Unavailable as error:
            assert "must be decided again" in str(error)
            refused += 1
            assert matcher.run_once() == len(batch)
    assert refused == 1
    found = merges_in(outcome(store))
    assert len({event.from_global_id for event in found}) == len(found)
    assert published(stream) == outcome(store)


def test_a_calibration_is_loaded_at_a_restart_and_named_by_the_next_decision(store: SqlStore) -> None:
    stream = bus()
    matcher = worker(stream, store)
    *learnt_from, after = stream_with_merges()[:5]
    for batch in (*learnt_from, after[:-1]):  # with one more it would learn again
        stream.publish(StreamName.EMBEDDINGS, batch)
        matcher.run_once()
    taught = calibrated(store)
    assert taught is not None
    somebody = embedding(
        "yard", 9, started_at=500.0, ended_at=504.0, vector=unit_vectors(np.random.default_rng(0), 1, 64)[0]
    )
    stream.publish(StreamName.EMBEDDINGS, [somebody])
    worker(stream, store).run_once()
    told = store.explanation(somebody.tracklet_id)
    assert told is not None and told.decision is not None and told.decision.evidence is not None
    assert told.decision.evidence.calibration == taught.number
    assert calibrated(store) == taught


def test_nothing_is_decided_with_a_calibration_that_could_not_be_kept(store: SqlStore) -> None:
    stream = bus()
    full = Interrupted(store, Unavailable("the disk is full"), 0, method="keep_calibration")
    matcher = worker(stream, full)  # type: ignore[arg-type]  # a proxy
    refused = 0
    for batch in stream_with_merges():
        stream.publish(StreamName.EMBEDDINGS, batch)
        decided = len(outcome(store))
        try:
            matcher.run_once()
        except Unavailable:
            refused += 1
            assert len(outcome(store)) == decided and calibrated(store) is None
            assert matcher.run_once() == len(batch)
    assert refused == 1 and calibrated(store) is not None


def test_a_short_track_within_a_longer_one_that_it_was_taken_for_becomes_somebody_else(store: SqlStore) -> None:
    (look,) = unit_vectors(np.random.default_rng(0), 1, 64)
    stream = bus()
    matcher = worker(stream, store)
    pieces = [
        embedding("gate", 1, 0, started_at=0.0, ended_at=4.0, vector=look),
        embedding("gate", 2, 0, started_at=4.5, ended_at=5.5, vector=look),
        embedding("gate", 1, 1, started_at=4.1, ended_at=8.0, vector=look),
    ]
    for piece in pieces:
        stream.publish(StreamName.EMBEDDINGS, [piece])
        matcher.run_once()
    first, second, third = pieces
    whose = store.assignments([piece.tracklet_id for piece in pieces])
    assert whose == {first.tracklet_id: 1, second.tracklet_id: 2, third.tracklet_id: 1}
    (split,) = (event for event in outcome(store) if event.kind is IdentityEventKind.SPLIT)
    assert (split.from_global_id, split.global_id, split.is_new) == (1, 2, True)
    assert split.reason == "track 2 of gate is not person 1, who was there in track 1 at the same time"
    assert split in published(stream)


def test_of_three_tracks_only_those_leave_who_clash_with_somebody_that_stays(store: SqlStore) -> None:
    """The second leaves the first; the third was there with the second alone, and stays whoever was killed between."""
    (look,) = unit_vectors(np.random.default_rng(0), 1, 64)
    batches = [
        [embedding("gate", 9, 0, started_at=0.0, ended_at=4.0, vector=look)],
        [embedding("gate", 5, 0, started_at=4.5, ended_at=5.5, vector=look)],
        [embedding("gate", 3, 0, started_at=20.0, ended_at=21.0, vector=look)],
        [
            embedding("gate", 9, 1, started_at=4.1, ended_at=8.0, vector=look),
            embedding("gate", 5, 1, started_at=19.0, ended_at=22.0, vector=look),
        ],
    ]
    stream = bus()
    for batch in batches:
        stream.publish(StreamName.EMBEDDINGS, batch)
        dying = Deadly(store, "commit_decisions", is_late=True, is_meant=lambda decisions, *_: not decisions)
        try:
            worker(stream, dying).run_once()  # type: ignore[arg-type]  # a proxy
        except Killed:
            stream = stream.restarted()
            worker(stream, store).run_once()
    whose = store.assignments([piece.tracklet_id for batch in batches for piece in batch])
    assert [whose[name] for name in sorted(whose)] == [1, 2, 2, 1, 1]
    calm = SqlStore.in_memory()
    undisturbed, quiet = bus(), None
    for batch in batches:
        undisturbed.publish(StreamName.EMBEDDINGS, batch)
        quiet = quiet or worker(undisturbed, calm)
        quiet.run_once()
    assert outcome(calm) == outcome(store)


def test_clocks_that_differ_are_learnt_and_a_restarted_matcher_goes_on_by_them(
    store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The clock of the hall is five minutes fast; every batch comes to another process on the one side."""
    calm, calm_stream, clock = SqlStore.in_memory(), bus(), HandClock(1000.0)
    steady, stream = worker(calm_stream, calm, clock=clock), bus()
    seen = site(120, SEED)
    for begin in range(0, len(seen), BATCH):
        batch = seen[begin : begin + BATCH]
        clock.sleep(max(piece.ended_at for piece in batch) - clock.now() + 1.0)
        told = [through_the_clock(piece, 300.0 * (piece.camera_id == "hall")) for piece in batch]
        for a_bus, matcher in ((calm_stream, steady), (stream, worker(stream, store, clock=clock))):
            a_bus.publish(StreamName.EMBEDDINGS, told)
            assert matcher.run_once() == len(batch)
    assert outcome(store) == outcome(calm)
    assert calibrated(store) == calibrated(calm) is not None
    assert "clocks of cameras differ: gate 15" in caplog.text


def through_the_clock(piece: TrackletEmbedding, fast_s: float) -> TrackletEmbedding:
    return piece.model_copy(update={"started_at": piece.started_at + fast_s, "ended_at": piece.ended_at + fast_s})

"""How the matcher changes models: vectors beside vectors, one moment, and nobody gets another identity."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters.bus_rules import BusConfig
from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.contracts import IdentityEvent, StreamName, TrackletEmbedding
from pipeline.decisions import Applied, Decision, Revision
from pipeline.errors import Unavailable
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from tests.fakes import DIMENSION, HandClock, SetModels, crop, embedding, tracklet, unit_vectors

OLD, NEW, FOREIGN = "old-model", "new-model", "foreign-model"
CONFIG = MatcherConfig(batch_tracklets=16, block_s=0.0)
LOOKS = unit_vectors(np.random.default_rng(4), 6)
TURN = np.linalg.qr(np.random.default_rng(9).standard_normal((DIMENSION, DIMENSION)))[0].astype(np.float32)


class Site:
    """A matcher with its bus and database, and what the embedder would send."""

    def __init__(self, store: SqlStore | None = None) -> None:
        self.bus = MemoryBus(BusConfig(redelivery_count=16))
        self.store = store or SqlStore.in_memory()
        self.clock = HandClock()
        self.models = SetModels(OLD, known=frozenset({OLD, NEW}))
        self.restart()

    def restart(self) -> None:
        self.bus = self.bus.restarted()
        self.matcher = MatcherWorker(self.bus, self.store, ExactGallery, self.clock, CONFIG, self.models)

    def send(self, *seen: TrackletEmbedding) -> None:
        self.bus.publish(StreamName.EMBEDDINGS, seen)
        self.run()

    def run(self) -> None:
        """Everything that is due, some seconds later."""
        self.clock.sleep(CONFIG.look_every_s)
        while self.matcher.run_once():
            pass

    def archive(self, *track_ids: int) -> None:
        for track_id in track_ids:
            self.store.archive_tracklet(tracklet(track_id, crop(b"jpeg")))
        self.run()

    def serving(self) -> str:
        return self.store.model_switches(1)[0].model_digest

    def identities(self) -> dict[str, int]:
        return {event.tracklet_ids[0]: event.global_id for event in self.store.events_after(0, 1000)}


@pytest.fixture
def site() -> Site:
    return Site()


def seen(track_id: int, digest: str, person: int = 0) -> TrackletEmbedding:
    """A visit of a person to the gate, ten seconds after the one with the number before. Models see different axes."""
    look = LOOKS[person] if digest == OLD else LOOKS[person] @ TURN
    return embedding(
        track_id=track_id, started_at=10.0 * track_id, ended_at=10.0 * track_id + 4.0, vector=look, digest=digest
    )


def test_the_wanted_model_serves_a_new_database_from_the_start(site: Site) -> None:
    site.run()
    assert site.serving() == OLD
    assert [notice.digest for notice in site.models.announced] == [OLD]


def test_a_database_that_was_filled_before_goes_on_with_the_model_of_its_vectors(site: Site) -> None:
    site.store.add_vectors([seen(1, NEW)])
    site.models.not_ready = frozenset({OLD})
    site.run()
    assert site.serving() == NEW


def test_the_model_serves_once_the_whole_archive_has_its_vectors(site: Site) -> None:
    site.send(seen(1, OLD, 0), seen(2, OLD, 1))
    site.archive(1, 2)
    site.models.wanted_digest = NEW
    site.send(seen(1, NEW, 0))
    assert site.serving() == OLD
    site.send(seen(2, NEW, 1))
    site.run()
    assert site.serving() == NEW
    notice = site.models.announced[-1]
    assert (notice.digest, notice.previous) == (NEW, OLD)


def test_people_keep_their_numbers_and_are_known_again_by_the_new_model(site: Site) -> None:
    people = [person for person in range(6) for _ in range(3)]
    for track_id, person in enumerate(people):
        site.send(seen(track_id, OLD, person))
    before = site.identities()
    site.archive(*range(len(people)))
    site.models.wanted_digest = NEW
    for track_id in reversed(range(len(people))):  # whatever the order in which the vectors come
        site.send(seen(track_id, NEW, people[track_id]))
    site.run()
    assert site.serving() == NEW
    assert site.identities() == before
    site.send(*(seen(100 + person, NEW, person) for person in range(6)))
    after = site.identities()
    assert [after[f"gate/b1/{100 + person}/0"] for person in range(6)] == [
        before[f"gate/b1/{3 * n}/0"] for n in range(6)
    ]


def test_a_model_that_an_embedder_has_not_loaded_does_not_serve(site: Site) -> None:
    site.run()
    site.models.wanted_digest, site.models.not_ready = NEW, frozenset({NEW})
    site.run()
    assert site.serving() == OLD
    site.models.not_ready = frozenset()
    site.run()
    assert site.serving() == NEW  # an empty archive is covered at once


def test_vectors_of_a_successor_are_kept_and_decide_nothing(site: Site) -> None:
    site.models.wanted_digest = OLD
    site.send(seen(1, OLD), seen(1, NEW), seen(1, NEW))
    assert len(site.identities()) == 1
    assert site.store.gallery(NEW, "appearance", 0, 9)[0].global_ids.tolist() == [1]
    assert site.bus.dead_letters(9) == []


def test_a_tracklet_without_an_identity_is_decided_when_its_model_serves(site: Site) -> None:
    site.send(seen(1, OLD, 0))
    site.send(seen(1, NEW, 0))
    site.send(seen(5, NEW, 0))  # an embedder that was started again gave only this vector
    assert list(site.identities()) == ["gate/b1/1/0"]
    site.archive(1, 5)
    site.models.wanted_digest = NEW
    site.run()
    assert site.serving() == NEW
    assert site.identities() == {"gate/b1/1/0": 1, "gate/b1/5/0": 1}


def test_a_late_vector_of_the_serving_model_is_remembered(site: Site) -> None:
    site.send(seen(1, OLD, 0))
    site.models.wanted_digest = NEW
    site.run()
    assert site.serving() == NEW  # nothing of it was archived yet
    site.send(seen(2, NEW, 1))
    site.send(seen(1, NEW, 0))
    site.send(seen(3, NEW, 0))
    assert site.identities() == {"gate/b1/1/0": 1, "gate/b1/2/0": 2, "gate/b1/3/0": 1}


def test_a_rollback_is_immediate_while_both_models_give_vectors(site: Site) -> None:
    site.send(seen(1, OLD), seen(1, NEW))
    site.archive(1)
    for wanted in (NEW, OLD, NEW):
        site.models.wanted_digest = wanted
        site.run()
        assert site.serving() == wanted
        site.send(seen(2, OLD), seen(2, NEW))
        site.archive(2)
    assert len(site.store.model_switches(9)) == 4
    assert site.identities() == {"gate/b1/1/0": 1, "gate/b1/2/0": 1}


def test_a_model_that_nobody_ever_asked_for_is_set_aside_with_the_remedy_and_can_come_back(site: Site) -> None:
    site.send(seen(1, OLD), seen(2, FOREIGN))
    (letter,) = site.bus.dead_letters(9)
    assert FOREIGN in letter.reason and OLD in letter.reason and "promote that model, then replay" in letter.reason
    site.models.known = frozenset({FOREIGN})
    site.bus.replay([letter.entry_id])
    site.run()
    assert site.bus.dead_letters(9) == []
    assert site.store.newest_vector_digest() == FOREIGN


def test_a_kept_tracklet_over_which_the_matcher_stumbles_stops_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.send(seen(1, OLD))
    site.store.add_vectors([seen(2, OLD), seen(3, OLD)])
    decide = MatcherWorker._decide

    def stumbling(self: MatcherWorker, tracklets: Sequence[TrackletEmbedding]) -> None:
        if any(each.track_id == 2 for each in tracklets):
            raise RuntimeError("a bug")
        decide(self, tracklets)

    monkeypatch.setattr(MatcherWorker, "_decide", stumbling)
    site.archive(2, 3)
    site.send(seen(4, OLD))
    assert sorted(site.identities()) == ["gate/b1/1/0", "gate/b1/3/0", "gate/b1/4/0"]


class LosesAnAnswer(SqlStore):
    """The answer to one commit is lost, as when the connection breaks behind it."""

    is_next = False

    def commit_decisions(
        self,
        decisions: Sequence[Decision],
        decided_at: float,
        revisions: Sequence[Revision] = (),
        applied: Applied | None = None,
    ) -> list[IdentityEvent]:
        events = super().commit_decisions(decisions, decided_at, revisions, applied)
        if self.is_next:
            self.is_next = False
            raise Unavailable("the connection broke")
        return events


def test_somebody_who_waited_is_known_again_although_the_answer_to_the_decision_was_lost() -> None:
    store = LosesAnAnswer.in_memory()
    assert isinstance(store, LosesAnAnswer)
    site = Site(store)
    site.send(seen(1, OLD, 0))
    store.add_vectors([seen(2, OLD, 1)])
    store.is_next = True
    with pytest.raises(Unavailable):
        site.archive(2)
    site.send(seen(3, OLD, 1))
    assert site.identities() == {"gate/b1/1/0": 1, "gate/b1/2/0": 2, "gate/b1/3/0": 2}


steps = st.lists(
    st.sampled_from(["see", "see old", "see new", "catch up", "want old", "want new", "restart"]), max_size=24
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps, st.integers(0, 3))
def test_whatever_is_wanted_every_tracklet_gets_one_identity_and_keeps_it(plan: list[str], seed: int) -> None:
    site, rng = Site(), np.random.default_rng(seed)
    people: list[int] = []
    held: dict[str, int] = {}
    for step in [*plan, "catch up"]:
        if step.startswith("see"):
            people.append(int(rng.integers(6)))
            given_by = [OLD, NEW] if step == "see" else [OLD] if step == "see old" else [NEW]
            site.send(*(seen(len(people), digest, people[-1]) for digest in given_by))
            site.archive(len(people))
        elif step == "catch up":
            missing = [(n, p, d) for n, p in enumerate(people, start=1) for d in (OLD, NEW)]
            site.send(*(seen(number, digest, person) for number, person, digest in missing))
        elif step == "restart":
            site.restart()
        else:
            site.models.wanted_digest = OLD if step == "want old" else NEW
            site.run()
        now = site.identities()
        assert held.items() <= now.items()
        held = now
    site.run()
    assert len(held) == len(people)
    assert site.serving() == site.models.wanted_digest
    assert site.bus.dead_letters(9) == []
    by_person = {(person, held[f"gate/b1/{number}/0"]) for number, person in enumerate(people, start=1)}
    assert len(by_person) == len(set(people)) == len({global_id for _, global_id in by_person})
    site.store.close()


def test_a_matcher_that_is_started_again_goes_on_with_the_model_that_serves(tmp_path: Path, site: Site) -> None:
    site.send(seen(1, OLD), seen(1, NEW))
    site.archive(1)
    site.models.wanted_digest = NEW
    site.run()
    site.models.wanted_digest = None  # the registry cannot be read any more
    site.restart()
    site.send(seen(2, NEW), seen(2, OLD))
    assert site.serving() == NEW
    assert site.identities() == {"gate/b1/1/0": 1, "gate/b1/2/0": 1}

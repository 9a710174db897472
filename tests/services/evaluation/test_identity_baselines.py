from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts import F32, GlobalId
from pipeline.errors import ConfigurationError
from pipeline.matching.people import MemoryConfig
from services.evaluation import identity_baselines
from services.evaluation.identity_answers import TrueTracklet, answers_of, play
from services.evaluation.identity_baselines import naive, oracle
from services.evaluation.identity_matcher import OfflineMatcher
from services.evaluation.identity_report import identity_report
from tests.fakes import embedding, unit_vectors


def seen(camera_id: str, track_id: int, true_id: int, vector: F32, sequence: int = 0) -> TrueTracklet:
    at = 60.0 * track_id + 4 * sequence
    look = embedding(camera_id, track_id, sequence, started_at=at, ended_at=at + 4.0, vector=vector)
    return TrueTracklet(look, true_id, at + 4.0)


def walks(noise: float, people: int = 8, rng_seed: int = 0) -> list[TrueTracklet]:
    """Everybody before three cameras, one after the other."""
    rng = np.random.default_rng(rng_seed)
    looks = unit_vectors(rng, people)
    seen_as = [looks + noise * unit_vectors(rng, people) for _ in range(3)]
    return [
        seen(f"c{camera}", camera * people + person, person, vectors[person] / np.linalg.norm(vectors[person]))
        for camera, vectors in enumerate(seen_as)
        for person in range(people)
    ]


@pytest.mark.parametrize("matcher", [oracle, naive])
def test_people_who_always_look_the_same_are_found_again(matcher: identity_baselines.Baseline) -> None:
    tracklets = walks(noise=0.05)
    report = identity_report(tracklets, matcher(tracklets))
    assert (report.identity.idf1, report.history.false_join_share) == (1.0, 0.0)


@pytest.mark.parametrize("matcher", [oracle, naive])
def test_pieces_of_one_track_stay_together_whatever_they_look_like(matcher: identity_baselines.Baseline) -> None:
    looks = unit_vectors(np.random.default_rng(3), 4)
    tracklets = [seen("gate", 1, 1, look, sequence) for sequence, look in enumerate(looks)]
    assert len({answer.final for answer in answers_of(matcher(tracklets)).values()}) == 1


@pytest.mark.parametrize("matcher", [oracle, naive])
def test_everybody_is_somebody_else_if_that_is_the_truth(matcher: identity_baselines.Baseline) -> None:
    look = unit_vectors(np.random.default_rng(0), 1)[0]
    tracklets = [seen("gate", number, number, look) for number in range(5)]
    assert identity_report(tracklets, matcher(tracklets)).identity.identities == 5


def test_seeing_everything_at_once_is_worth_more_than_the_nearest_so_far() -> None:
    tracklets = walks(noise=0.9, people=60)
    scores = [identity_report(tracklets, matcher(tracklets)).identity.idf1 for matcher in (oracle, naive)]
    assert 1.0 > scores[0] > scores[1]


def test_the_oracle_refuses_what_does_not_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_baselines, "MOST_TRACKS", 3)
    with pytest.raises(ConfigurationError, match="24 tracks; the oracle clusters at most 3"):
        oracle(walks(noise=0.1))


def test_the_matcher_at_work_puts_look_alikes_together_in_the_order_of_time() -> None:
    look, other = unit_vectors(np.random.default_rng(0), 2)
    tracklets = [seen("gate", 0, 1, look), seen("gate", 1, 2, other), seen("hall", 2, 1, look)]
    matcher = OfflineMatcher(MemoryConfig())
    found = answers_of(play(matcher, tracklets))
    assert {name: answer.final for name, answer in found.items()} == {
        "gate/b1/0/0": GlobalId(1),
        "gate/b1/1/0": GlobalId(2),
        "hall/b1/2/0": GlobalId(1),
    }

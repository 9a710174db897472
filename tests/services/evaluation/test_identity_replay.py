from __future__ import annotations

from pipeline.matching.people import MemoryConfig
from services.evaluation.identity_replay import evaluate_identity
from services.evaluation.market_replay import ReplayedTracklet
from tests.fakes import ColourEncoder, crop, jpeg, painted, tracklet

RED, BLUE = crop(jpeg(painted((200, 20, 20)))), crop(jpeg(painted((20, 20, 200))))
REPLAYED = [
    ReplayedTracklet(tracklet(number, picture, camera_id=camera), person)
    for number, (camera, person, picture) in enumerate(
        [("gate", 1, RED), ("gate", 2, BLUE), ("hall", 1, RED), ("hall", 2, BLUE)]
    )
]


def test_the_matcher_stands_beside_its_references_where_they_are_wanted() -> None:
    told: list[float] = []
    figures = evaluate_identity(REPLAYED, ColourEncoder(), MemoryConfig(), True, told.append)
    assert (figures["persons"], figures["tracklets"], figures["idf1"]) == (2, 4, 1.0)
    assert (figures["oracle_idf1"], figures["naive_idf1"]) == (1.0, 1.0)
    assert told == [0.25, 0.5, 0.75, 1.0]


def test_without_references_only_the_matcher_is_measured() -> None:
    figures = evaluate_identity(REPLAYED, ColourEncoder(), MemoryConfig())
    assert not [name for name in figures if name.startswith(("oracle", "naive"))]

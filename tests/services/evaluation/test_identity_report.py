from __future__ import annotations

import json

from pipeline.contracts import GlobalId, IdentityEventKind
from services.evaluation.identity_answers import Statement, TrueTracklet
from services.evaluation.identity_report import identity_report
from tests.fakes import embedding


def test_a_report_is_plain_numbers_of_the_final_identities() -> None:
    tracklets = [TrueTracklet(embedding(track_id=track), 1, 4.0) for track in range(2)]
    names = [seen.embedding.tracklet_id for seen in tracklets]
    report = identity_report(
        tracklets,
        [
            Statement(5.0, IdentityEventKind.ASSIGNED, GlobalId(1), (names[0],)),
            Statement(5.0, IdentityEventKind.ASSIGNED, GlobalId(2), (names[1],)),
            Statement(9.0, IdentityEventKind.MERGED, GlobalId(1), from_id=GlobalId(2)),
        ],
    )
    figures = json.loads(json.dumps(report.figures()))
    assert (figures["idf1"], figures["identities"], figures["merges_per_1000"]) == (1.0, 1, 500.0)

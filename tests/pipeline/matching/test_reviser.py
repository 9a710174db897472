"""Who is thought of again after a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pipeline.contracts import GlobalId, IdentityEvent, TrackletEmbedding
from pipeline.decisions import Decision, Revision
from pipeline.kept import GalleryRows
from pipeline.matching.people import People
from pipeline.matching.reviser import reconsider
from tests.fakes import embedding, unit_vectors
from tests.pipeline.matching.made_site import Seen, calibration, people_with, rows

ONE, SAME, OTHER = GlobalId(1), GlobalId(2), GlobalId(3)
LOOKS = unit_vectors(np.random.default_rng(4), 2)


class Committed:
    """`Books` that only note what they are given."""

    def __init__(self) -> None:
        self.revisions: list[Revision] = []

    def commit_decisions(
        self, decisions: Sequence[Decision], decided_at: float, revisions: Sequence[Revision]
    ) -> list[IdentityEvent]:
        self.revisions += revisions
        return []

    def next_global_id(self) -> GlobalId:
        return GlobalId(9)

    def rows_of_identity(self, model_digest: str, global_ids: Sequence[GlobalId]) -> GalleryRows:
        return rows([])


def merged(people: People, batch: Sequence[TrackletEmbedding]) -> list[tuple[GlobalId, GlobalId]]:
    books = Committed()
    reconsider(people, books, batch, decided_at=1.0)
    return [(revision.from_id, revision.to_id) for revision in books.revisions]


@pytest.mark.parametrize(("learnt_of", "expected"), [(2, [(SAME, ONE)]), (1, [])])
def test_what_was_learnt_before_a_batch_is_held_to_those_who_went_before(
    learnt_of: int, expected: list[tuple[GlobalId, GlobalId]]
) -> None:
    gone: list[Seen] = [
        (embedding("gate", 1, started_at=0.0, ended_at=4.0, vector=LOOKS[0]), ONE),
        (embedding("hall", 2, started_at=14.0, ended_at=18.0, vector=LOOKS[0]), SAME),
    ]
    passer = embedding("yard", 3, started_at=60.0, ended_at=64.0, vector=LOOKS[1])
    people = people_with([*gone, (passer, OTHER)])
    people.calibrate(replace(calibration(), number=1, tracklets=learnt_of))
    assert merged(people, [passer]) == expected
    assert merged(people, [gone[1][0]]) == ([] if expected else [(SAME, ONE)])  # of whom there is more, always

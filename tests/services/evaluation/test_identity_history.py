from __future__ import annotations

import pytest

from pipeline.contracts import GlobalId, IdentityEventKind
from services.evaluation.identity_answers import Statement, TrueTracklet
from services.evaluation.identity_history import score_history
from tests.fakes import embedding

ANNA, BERT = 1, 2


def seen(track_id: int, true_id: int | None, sequence: int = 0) -> TrueTracklet:
    """Four seconds long, and 100 s from one track to the next."""
    at = 100.0 * track_id + 4 * sequence
    return TrueTracklet(embedding("gate", track_id, sequence, started_at=at, ended_at=at + 4.0), true_id, at + 4.0)


def said(
    tracklets: list[TrueTracklet], number: int, kind: str = "assigned", is_tentative: bool = False, after_s: float = 1.0
) -> Statement:
    names = tuple(each.embedding.tracklet_id for each in tracklets)
    at = tracklets[-1].arrived_at + after_s
    return Statement(at, IdentityEventKind(kind), GlobalId(number), names, is_tentative=is_tentative)


def test_a_join_with_another_persons_identity_is_false() -> None:
    anna, bert, again = seen(1, ANNA), seen(2, BERT), seen(3, ANNA)
    score = score_history([anna, bert, again], [said([anna], 1), said([bert], 1), said([again], 1)])
    assert (score.joins, score.false_join_share) == (2, 0.5)


def test_opening_an_identity_and_going_on_with_a_track_are_no_joins() -> None:
    pieces = [seen(1, ANNA), seen(1, ANNA, sequence=1), seen(1, ANNA, sequence=2)]
    assert score_history(pieces, [said([each], 1) for each in pieces]).joins == 0


def test_the_pieces_of_a_track_that_join_together_are_one_join() -> None:
    other, pieces = seen(1, BERT), [seen(2, ANNA), seen(2, ANNA, sequence=1)]
    assert score_history([other, *pieces], [said([other], 1), said(pieces, 1)]).joins == 1


def test_a_tentative_statement_is_a_join_once_it_is_confirmed() -> None:
    anna, bert = seen(1, ANNA), seen(2, BERT)
    doubtful = [said([anna], 1), said([bert], 1, is_tentative=True)]
    before = score_history([anna, bert], doubtful)
    assert (before.joins, before.tentative_share) == (0, 0.5)
    after = score_history([anna, bert], [*doubtful, said([bert], 1, after_s=60.0)])
    assert (after.joins, after.false_join_share, after.tentative_share, after.changed_share) == (1, 1.0, 0.0, 0.0)


def test_a_merge_is_one_join_judged_by_both_majorities() -> None:
    annas, mixed = [seen(1, ANNA), seen(2, ANNA)], [seen(3, BERT), seen(4, BERT), seen(5, ANNA)]
    before = [*(said([each], 1) for each in annas), *(said([each], 2) for each in mixed)]
    merge = Statement(900.0, IdentityEventKind.MERGED, GlobalId(1), from_id=GlobalId(2))
    score = score_history([*annas, *mixed], [*before, merge])
    assert (score.joins, score.merges_per_1000, score.changed_share) == (4, 200.0, 0.6)
    assert score.false_join_share == pytest.approx(2 / 4)  # the fifth track, and the merge


def test_a_split_to_an_identity_of_its_own_is_no_join() -> None:
    anna, bert = seen(1, ANNA), seen(2, BERT)
    score = score_history([anna, bert], [said([anna], 1), said([bert], 1), said([bert], 2, "split")])
    assert (score.joins, score.splits_per_1000, score.changed_share) == (1, 500.0, 0.5)


def test_joins_of_strangers_are_not_judged() -> None:
    anna, stranger = seen(1, ANNA), seen(2, None)
    assert score_history([anna, stranger], [said([anna], 1), said([stranger], 1)]).joins == 0


def test_an_identity_is_final_at_its_last_change_counted_from_the_first_crop() -> None:
    anna, bert = seen(1, ANNA), seen(2, BERT)
    score = score_history([anna, bert], [said([anna], 1), said([bert], 1), said([bert], 2, "split", after_s=91.0)])
    assert score.to_final_p50_s == pytest.approx((5.0 + 95.0) / 2)


def test_a_wrong_clock_of_a_camera_does_not_change_how_long_it_took() -> None:
    fast = TrueTracklet(embedding(started_at=1000.0, ended_at=1004.0), ANNA, 4.0)
    assert score_history([fast], [said([fast], 1)]).to_final_p50_s == pytest.approx(5.0)


def test_nothing_scores_zero() -> None:
    assert score_history([], []).false_join_share == 0.0

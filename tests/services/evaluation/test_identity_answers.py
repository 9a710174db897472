from __future__ import annotations

from collections.abc import Sequence

from pipeline.contracts import GlobalId, IdentityEventKind, TrackletEmbedding, TrackletId
from services.evaluation.identity_answers import Statement, TrueTracklet, answers_of, play
from tests.fakes import embedding

A, B = TrackletId("gate/b1/1/0"), TrackletId("gate/b1/2/0")


def said(
    at: float, names: tuple[TrackletId, ...], number: int, kind: str = "assigned", is_tentative: bool = False
) -> Statement:
    return Statement(at, IdentityEventKind(kind), GlobalId(number), names, is_tentative=is_tentative)


class Listening:
    """`IdentityMatcher` that says nothing."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, list[int]]] = []

    def take(self, batch: Sequence[TrackletEmbedding], now: float) -> list[Statement]:
        self.heard.append((now, [each.track_id for each in batch]))
        return []


def test_tracklets_of_one_second_are_decided_when_it_is_over_and_silence_ends_the_run() -> None:
    matcher = Listening()
    times = [(1, 0.2), (2, 0.9), (3, 7.0)]
    assert not list(play(matcher, [TrueTracklet(embedding("gate", track), None, at) for track, at in times]))
    assert matcher.heard[:2] == [(1.0, [1, 2]), (8.0, [3])]
    assert matcher.heard[2][0] > 8.0 and not matcher.heard[2][1]


def test_a_merge_is_a_change_of_those_who_had_another_identity() -> None:
    merge = Statement(9.0, IdentityEventKind.MERGED, GlobalId(1), from_id=GlobalId(2))
    found = answers_of([said(1.0, (A,), 1), said(2.0, (B,), 2), merge])
    assert (found[A].final, found[A].changes, found[A].final_at) == (1, (), 1.0)
    assert (found[B].first, found[B].final, found[B].first_at, found[B].final_at) == (2, 1, 2.0, 9.0)
    assert found[B].changes == (merge,)


def test_a_merge_moves_what_the_identity_has_at_that_moment() -> None:
    merge = Statement(9.0, IdentityEventKind.MERGED, GlobalId(1), from_id=GlobalId(2))
    found = answers_of([said(1.0, (A, B), 2), said(2.0, (B,), 3, "split"), merge])
    assert (found[A].final, found[B].final) == (1, 3)


def test_a_confirmation_is_final_and_no_change() -> None:
    found = answers_of([said(1.0, (A,), 1, is_tentative=True), said(5.0, (A,), 1)])[A]
    assert (found.is_tentative, found.final_at, found.changes) == (False, 5.0, ())


def test_saying_it_again_changes_nothing() -> None:
    once = [said(1.0, (A, B), 1)]
    assert answers_of(once) == answers_of([*once, said(8.0, (A,), 1)])

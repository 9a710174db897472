"""What corrections forbid and demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import GlobalId, IdentityEvent, IdentityEventKind, TrackletId, tracklet_id
from pipeline.decisions import Correction, CorrectionKind, CorrectionRequest
from pipeline.matching.laws import Laws, named_in


def name(track: int, sequence: int = 0) -> TrackletId:
    return tracklet_id("gate", "b1", track, sequence)


A, B, C, D = (name(track) for track in range(4))


def law(kind: CorrectionKind, one: Sequence[TrackletId], other: Sequence[TrackletId]) -> Correction:
    named: dict[CorrectionKind, Any] = {
        CorrectionKind.MERGE: {"global_ids": (1, 2)},
        CorrectionKind.SPLIT: {"global_ids": (1,), "tracklet_ids": (A,)},
    }
    request = CorrectionRequest(kind, "anna", **named.get(kind, {"tracklet_ids": (A, B)}))
    return Correction(1, request, 0.0, 0, applied_at=1.0, one_side=tuple(one), other_side=tuple(other))


def people(**numbers: int) -> dict[TrackletId, GlobalId]:
    names = {"a": A, "b": B, "c": C, "d": D}
    return {names[letter]: GlobalId(number) for letter, number in numbers.items()}


def moved(to_id: int, *names: TrackletId) -> IdentityEvent:
    return IdentityEvent(
        event_id=9,
        kind=IdentityEventKind.MERGED,
        decided_at=0.0,
        global_id=to_id,
        from_global_id=1,
        tracklet_ids=names,
        confidence=1.0,
        reason="test",
    )


def test_without_corrections_nothing_is_forbidden_bound_or_tied() -> None:
    laws = Laws()
    assert laws.forbidden(GlobalId(1)) == frozenset()
    assert laws.bound(A) is None
    assert laws.inseparable(frozenset([A, B])) == {A, B}
    laws.follow([moved(5, A)])
    assert laws.bound(A) is None


def test_who_was_parted_may_not_meet_again_under_whatever_number() -> None:
    laws = Laws([law(CorrectionKind.SPLIT, [A], [B, C])], people(a=1, b=2, c=3))
    assert laws.forbidden(GlobalId(1)) == {2, 3}
    assert laws.forbidden(GlobalId(2)) == {1}
    laws.follow([moved(7, B), moved(7, C, D)])
    assert laws.forbidden(GlobalId(1)) == {7}
    assert laws.forbidden(GlobalId(2)) == frozenset()


def test_what_was_united_leaves_together_across_several_corrections() -> None:
    laws = Laws([law(CorrectionKind.MERGE, [A], [B]), law(CorrectionKind.SAME, [C], [B])], people(a=1, b=1, c=1, d=1))
    assert laws.inseparable(frozenset([A])) == {A, B, C}
    assert laws.inseparable(frozenset([D])) == {D}


def test_a_later_merge_lifts_only_the_rules_between_those_whom_it_unites() -> None:
    apart = law(CorrectionKind.NOT_SAME, [A], [B, C])
    laws = Laws([apart, law(CorrectionKind.MERGE, [A], [B])], people(a=1, b=1, c=3))
    assert laws.forbidden(GlobalId(1)) == {3} and laws.forbidden(GlobalId(3)) == {1}


def test_a_later_split_cuts_the_bond_and_leaves_the_rest_tied() -> None:
    laws = Laws(
        [law(CorrectionKind.MERGE, [A, B], [C, D]), law(CorrectionKind.SPLIT, [A, B], [C])], people(a=1, b=1, c=2, d=2)
    )
    assert laws.inseparable(frozenset([A])) == {A, B}
    assert laws.inseparable(frozenset([C])) == {C, D}
    assert laws.forbidden(GlobalId(1)) == {2}


def test_the_next_piece_of_a_track_is_bound_to_the_named_piece_before_it() -> None:
    cut = law(CorrectionKind.NOT_SAME, [name(5, 4)], [name(5, 1)])
    laws = Laws([cut], {name(5, 1): GlobalId(1), name(5, 4): GlobalId(2)})
    assert [laws.bound(name(5, sequence)) for sequence in (0, 1, 3, 4, 9)] == [1, 1, 1, 2, 2]
    assert laws.bound(name(6)) is None
    laws.follow([moved(3, name(5, 4))])
    assert laws.bound(name(5, 9)) == 3


def test_only_what_laws_speak_of_is_named() -> None:
    assert named_in([law(CorrectionKind.SPLIT, [B], [A, C]), law(CorrectionKind.SAME, [C], [D])]) == [B, A, C, D]


groups = st.lists(st.sampled_from([A, B, C, D]), min_size=1, max_size=3, unique=True)
kinds = st.sampled_from([CorrectionKind.MERGE, CorrectionKind.SPLIT])


@given(st.lists(st.tuples(kinds, groups, groups), max_size=6))
def test_of_two_tracklets_the_newest_word_counts(said: list[tuple[CorrectionKind, Any, Any]]) -> None:
    """Against a list of pairs, in which each correction overwrites what was said of a pair before."""
    laws = [(kind, one, [each for each in other if each not in one]) for kind, one, other in said]
    is_apart: dict[frozenset[TrackletId], bool] = {}
    for kind, one, other in laws:
        if kind is CorrectionKind.MERGE:
            both = [*one, *other]
            is_apart |= {frozenset([x, y]): False for x in both for y in both if x != y}
        else:
            is_apart |= {frozenset([x, y]): True for x in one for y in other}
    everybody = people(a=1, b=2, c=3, d=4)
    asked = Laws([law(kind, one, other) for kind, one, other in laws], everybody)
    for x in everybody:
        for y in everybody:
            expected = is_apart.get(frozenset([x, y]), False) if x != y else False
            assert (everybody[y] in asked.forbidden(everybody[x])) == expected

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import ServingModel
from pipeline.embedding.in_force import Pointer, in_force

A, B, C = "model-aa", "model-bb", "model-cc"
KEEP_S = 100.0


def serving(digest: str, previous: str | None = None) -> ServingModel:
    return ServingModel(digest=digest, since_at=1000.0, previous=previous)


@pytest.mark.parametrize(
    ("served", "pointer", "expected"),
    [
        (None, Pointer(B), (B,)),
        (None, Pointer(B, A), (B, A)),  # it may be either: the matcher keeps what it has no use for
        (serving(A), Pointer(A), (A,)),
        (serving(A), Pointer(B, A), (A, B)),  # a promotion under way
        (serving(B, A), Pointer(B, A), (B, A)),  # done, and the way back is kept open
        (serving(B, A), Pointer(A, B), (B, A)),  # going back
        (serving(B, A), Pointer(C, B), (B, C)),  # on to the next
        (serving(A), Pointer(None), (A,)),  # the registry cannot be read
    ],
)
def test_the_serving_model_comes_first_and_at_most_one_beside_it(
    served: ServingModel | None, pointer: Pointer, expected: tuple[str, ...]
) -> None:
    assert in_force(served, pointer, 1000.0, KEEP_S) == expected


def test_the_former_model_is_let_go_after_its_time() -> None:
    assert in_force(serving(B, A), Pointer(B), 1000.0 + KEEP_S - 1, KEEP_S) == (B, A)
    assert in_force(serving(B, A), Pointer(B), 1000.0 + KEEP_S, KEEP_S) == (B,)
    assert in_force(serving(B, A), Pointer(A), 1000.0 + KEEP_S, KEEP_S) == (B, A)  # wanted again


digests = st.sampled_from([A, B, C])


@given(digests, digests | st.none(), digests | st.none(), st.floats(0, 3000))
def test_what_serves_and_what_is_wanted_are_always_in_force(
    now_serving: str, previous: str | None, wanted: str | None, now: float
) -> None:
    found = in_force(serving(now_serving, previous), Pointer(wanted), now, KEEP_S)
    assert found[0] == now_serving
    assert wanted is None or wanted in found
    assert len(set(found)) == len(found) <= 2

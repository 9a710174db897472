from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import GlobalId
from pipeline.matching.exemplars import Exemplar, ExemplarBook, most_redundant


def exemplar(row: int, camera_id: str = "gate", started_at: float = 0.0, person: int = 1) -> Exemplar:
    vector = np.arange(row, row + 4).astype(np.float16)
    return Exemplar(row, GlobalId(person), (camera_id, "b1", row), started_at, vector)


def test_the_one_between_its_closest_neighbours_in_the_fullest_camera_goes() -> None:
    crowd = [
        exemplar(1, started_at=0),
        exemplar(2, started_at=5),
        exemplar(3, started_at=6),
        exemplar(4, started_at=50),
    ]
    assert most_redundant([*crowd, exemplar(5, "hall", 5), exemplar(6, "hall", 6)]).row == 2


def test_where_every_camera_has_one_the_earliest_goes() -> None:
    assert most_redundant([exemplar(1, "a", 9.0), exemplar(2, "b", 3.0), exemplar(3, "c", 5.0)]).row == 2


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(1, 3)), max_size=40), st.integers(1, 5)
)
def test_every_identity_keeps_a_few_of_every_camera_it_can_and_their_mean(
    seen: list[tuple[str, int, int]], limit: int
) -> None:
    book = ExemplarBook(limit)
    rows: set[int] = set()
    for row, (camera_id, started_at, person) in enumerate(seen):
        lost = book.add(exemplar(row, camera_id, started_at, person))
        rows = (rows | {row}) - {lost}
    assert len(book) == len(rows) == sum(min(limit, sum(p == q for *_, q in seen)) for p in {1, 2, 3})
    for person in {1, 2, 3}:
        cameras = {camera_id for camera_id, _, other in seen if other == person}
        if cameras:
            kept = book.of(GlobalId(person))
            assert {each.row for each in kept} == {row for row in rows if book.identity(row) == person}
            assert len({each.track[0] for each in kept}) == min(limit, len(cameras))
            np.testing.assert_allclose(
                book.mean(GlobalId(person)), np.mean([each.vector for each in kept], axis=0, dtype=np.float64)
            )

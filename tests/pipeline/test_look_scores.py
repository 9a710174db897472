from __future__ import annotations

import numpy as np
import pytest

from pipeline.look_scores import ordinary_strangers


@pytest.mark.parametrize("held_twice", [0, 500, 1500])
def test_people_held_under_two_numbers_do_not_change_what_ordinary_strangers_are(held_twice: int) -> None:
    rng = np.random.default_rng(0)
    strangers, one_person = rng.normal(0.05, 0.1, 10_000), rng.normal(0.8, 0.05, held_twice)
    mean, deviation = ordinary_strangers(np.concatenate([strangers, one_person]))
    assert mean == pytest.approx(0.05, abs=0.005)
    assert deviation == pytest.approx(0.1, rel=0.05)


def test_where_all_are_equally_alike_there_is_no_deviation() -> None:
    assert ordinary_strangers(np.full(3, 0.25)) == (0.25, 0.0)
    assert ordinary_strangers(np.array([0.4])) == (0.4, 0.0)

"""P×K batches."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.samplers import identity_batches


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-1, 8), min_size=1, max_size=80), st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**31)
)
def test_every_batch_holds_p_labels_with_k_samples_each(labels: list[int], p: int, k: int, seed: int) -> None:
    array = np.array(labels)
    for batch in identity_batches(array, p, k, np.random.default_rng(seed)):
        counts = Counter(array[batch].tolist())
        assert len(counts) == p
        assert set(counts.values()) == {k}
        assert -1 not in counts


def test_an_epoch_shows_nearly_every_image_of_equal_identities_once() -> None:
    labels = np.repeat(np.arange(32), 8)
    seen = Counter(np.concatenate(list(identity_batches(labels, 8, 4, np.random.default_rng(0)))).tolist())
    assert max(seen.values()) == 1
    assert len(seen) >= 0.85 * len(labels)


def test_one_seed_gives_one_order() -> None:
    labels = np.repeat(np.arange(6), 5)
    first, second = (list(identity_batches(labels, 2, 2, np.random.default_rng(4))) for _ in range(2))
    assert np.array_equal(np.stack(first), np.stack(second))

"""Invented people are put together from the right halves, and only what is seen of them is known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reid_models.datasets.attribute_sentences import LOWER_COLOURS, UNTOLD, UPPER_COLOURS
from reid_models.datasets.composites import draw_composites, joined, joined_attributes, recolour

NAMES = ("backpack", "bag", "handbag", "hat", "hair", "gender", "up", "down", "clothes", "age")
COLOURS = [*(f"up{colour}" for colour in UPPER_COLOURS), *(f"down{colour}" for colour in LOWER_COLOURS)]


def test_each_half_is_of_its_parent() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 32, 3), np.uint8)
    made = draw_composites(images, 60, np.random.default_rng(1))
    for image, upper, lower, changed in zip(made.images, made.upper, made.lower, made.recoloured, strict=True):
        assert changed[0] or (image[:20] == images[upper][:20]).all()
        assert changed[1] or (image[44:] == images[lower][44:]).all()
    assert 0.1 < (made.upper == made.lower).mean() < 0.6
    assert 0.3 < made.recoloured.mean() < 0.7


def test_one_seed_draws_the_same_people() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 32, 3), np.uint8)
    first, second = (draw_composites(images, 8, np.random.default_rng(1)) for _ in range(2))
    assert (first.images == second.images).all()


@given(st.floats(0.3, 0.7))
def test_the_seam_lies_at_the_waist_and_fades(waist: float) -> None:
    above, below = np.full((128, 8, 3), 200, np.uint8), np.full((128, 8, 3), 100, np.uint8)
    column = joined(above, below, waist)[:, 0, 0].astype(int)
    assert (np.diff(column) <= 0).all()
    assert abs(np.searchsorted(-column, -150) - waist * 128) <= 2
    assert 3 <= ((column > 100) & (column < 200)).sum() <= 8


def test_recolouring_turns_hues_and_keeps_shapes() -> None:
    image = np.zeros((40, 20, 3), np.uint8)
    image[:20] = (200, 40, 40)
    changed = recolour(image, np.random.default_rng(3))
    assert (changed[20:] == 0).all()
    assert len(np.unique(changed[:20].reshape(-1, 3), axis=0)) == 1
    assert abs(changed[0, 0].astype(int) - image[0, 0]).max() > 60


@given(
    st.lists(st.tuples(st.sampled_from((1, 2)), st.sampled_from((1, 2))), min_size=27, max_size=27),
    st.booleans(),
    st.booleans(),
)
def test_what_is_known_of_a_composite_is_seen_in_it(
    codes: list[tuple[int, int]], upper_changed: bool, lower_changed: bool
) -> None:
    names = [*NAMES, *COLOURS]
    upper = {name: pair[0] for name, pair in zip(names, codes, strict=True)}
    lower = {name: pair[1] for name, pair in zip(names, codes, strict=True)}
    known = joined_attributes(upper, lower, (upper_changed, lower_changed))
    assert known["gender"] == upper["gender"]
    assert known["up"] == upper["up"]
    assert (known["down"], known["clothes"]) == (lower["down"], lower["clothes"])
    assert known["bag"] == (upper["bag"] if upper["bag"] == lower["bag"] else UNTOLD)
    assert known["upred"] == (UNTOLD if upper_changed else upper["upred"])
    assert known["downred" if "downred" in known else "downblue"] == (UNTOLD if lower_changed else lower["downblue"])

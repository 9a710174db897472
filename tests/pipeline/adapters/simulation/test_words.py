"""People, what is said about them, and how tall they stand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.simulation.figure import gait_phase, pose
from pipeline.adapters.simulation.people import LOWER_COLOURS, UPPER_COLOURS, Lower, Person, population
from pipeline.adapters.simulation.words import describe, true_queries

seeds = st.integers(0, 10**6)


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_the_attributes_speak_the_vocabulary_of_market1501(seed: int) -> None:
    for person in population(seed, 12):
        coded = person.attributes
        assert len(coded) == 27
        assert coded["age"] in (1, 2, 3, 4)
        assert {value for name, value in coded.items() if name != "age"} <= {1, 2}
        assert sum(coded[f"up{colour}"] == 2 for colour in UPPER_COLOURS) == 1
        assert sum(coded[f"down{colour}"] == 2 for colour in LOWER_COLOURS) == 1
        assert (coded["clothes"] == 1) <= (coded["down"] == 2)


def test_people_of_a_small_site_differ_in_the_colours_of_their_clothes() -> None:
    people = population(11, 30)
    assert len({(person.upper_colour, person.lower_colour) for person in people}) == 30


@given(seeds, seeds)
@settings(max_examples=25, deadline=None)
def test_a_description_tells_what_the_attributes_say(seed: int, wording: int) -> None:
    for person in population(seed, 8):
        words = re.findall(r"[a-z]+", describe(person, np.random.default_rng(wording)).lower())
        assert person.upper_colour in words
        assert person.lower_colour in words
        assert bool({"woman", "lady", "female", "girl"} & set(words)) == (person.attributes["gender"] == 2)
        for thing in ("backpack", "handbag", "hat"):
            assert (thing in words) == (person.attributes[thing] == 2)
        assert ("bag" in words) == (person.attributes["bag"] == 2)
        assert bool({"dress", "skirt"} & set(words)) == (person.attributes["clothes"] == 1)


def test_what_cannot_be_seen_is_not_told() -> None:
    carriers = [person for person in population(1, 40) if person.attributes["backpack"] == 2]
    told = [describe(person, np.random.default_rng(0), carried_is_visible=False) for person in carriers]
    assert carriers
    assert not [sentence for sentence in told if "backpack" in sentence]


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_a_query_holds_for_everybody_with_these_attributes_and_nobody_else(seed: int) -> None:
    people = population(seed, 60)
    for query in true_queries(people):
        assert query.person_ids == {person.person_id for person in people if holds(query.sentence, person)}
        assert query.person_ids


def holds(sentence: str, person: Person) -> bool:
    """The grammar of the queries, read backwards: a GENDER in a UPPER[ and LOWER][ with CARRIED]."""
    said = re.fullmatch(
        r"a (?P<gender>man|woman) in a (?P<upper>.+?)(?: and (?:a )?(?P<lower>.+?))?(?: with a (?P<carried>.+))?",
        sentence,
    )
    assert said is not None, sentence
    garment = {"shirt": "long sleeved shirt"}.get(person.upper, str(person.upper))
    carried = {"bag": "shoulder bag"}.get(person.carried, str(person.carried))
    worn = {f"{person.upper_colour} {garment}"}
    if person.lower is Lower.DRESS:
        worn.add(f"{person.upper_colour} dress")
    return (
        said["gender"] == person.gender
        and said["upper"] in worn
        and said["lower"] in (None, f"{person.lower_colour} {person.lower}")
        and said["carried"] in (None, carried)
    )


@given(seeds, st.floats(0, 50))
@settings(max_examples=25, deadline=None)
def test_a_figure_stands_on_the_ground_and_is_as_tall_as_its_person(seed: int, walked_m: float) -> None:
    person = population(seed, 1)[0]
    balls = pose(person, gait_phase(person, walked_m)).balls
    assert (balls[:, 2] - balls[:, 3]).min() == pytest.approx(0, abs=0.02)
    assert (balls[:, 2] + balls[:, 3]).max() == pytest.approx(person.height_m, rel=0.09)

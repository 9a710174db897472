"""What is said about the people of a batch is true of exactly those of whom it is."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.datasets.composites import draw_composites
from reid_models.datasets.described import DescribedPeople, Source, read_described_people
from reid_models.datasets.lessons import (
    INVENTED,
    Lessons,
    is_yes,
    lessons_of_people,
    shortened,
    with_inventions,
)
from reid_models.datasets.training_sets import decoded_images

seeds = st.integers(0, 2**31)


def lessons_of(miniature: Source) -> Lessons:
    people = read_described_people([miniature])
    return lessons_of_people(people, decoded_images(people.samples, (64, 32)))


def taught(lessons: Lessons, inventions: int = 6) -> Lessons:
    rng = np.random.default_rng(0)
    composites = draw_composites(lessons.images, inventions, rng)
    vectors = rng.normal(size=(len(lessons.images) + inventions, 5)).astype(np.float32)
    return with_inventions(lessons, vectors[: len(lessons.images)], composites, vectors[len(lessons.images) :])


def test_inventions_come_after_the_people_and_have_no_identity(miniature: Source) -> None:
    plain = lessons_of(miniature)
    lessons = taught(plain)
    count = len(plain.images)
    assert (lessons.labels[:count] == plain.labels).all()
    assert (lessons.labels[count:] == INVENTED).all()
    assert lessons.subjects[count:].tolist() == list(range(4, 10))
    assert len(lessons.attributes) == 10
    assert lessons.taught.shape == (count + 6, 5)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_a_sentence_is_true_of_its_subject_and_of_whoever_has_all_that_it_says(miniature: Source, seed: int) -> None:
    lessons = taught(lessons_of(miniature))
    rng = np.random.default_rng(seed)
    subjects = rng.integers(0, len(lessons.attributes), 7)
    sentences = [sentence for subject in np.unique(subjects) for sentence in lessons.sentences(int(subject), rng)]
    is_true = lessons.truth(sentences, subjects)
    for row, subject in enumerate(subjects):
        for column, sentence in enumerate(sentences):
            attributes = lessons.attributes[subject]
            said = sentence.said is not None and all(attributes[name] == code for name, code in sentence.said)
            assert is_true[row, column] == (sentence.subject == subject or said)


def test_a_person_has_one_written_sentence_and_an_invention_none(miniature: Source) -> None:
    lessons = taught(lessons_of(miniature))
    assert [sentence.said is None for sentence in lessons.sentences(0, np.random.default_rng(0))] == [False, True]
    assert [sentence.said is None for sentence in lessons.sentences(5, np.random.default_rng(0))] == [False]


def test_a_person_without_written_sentences_has_two_made_ones(miniature: Source) -> None:
    people = read_described_people([miniature])
    silent = DescribedPeople(people.samples, people.labels, ((),) * 4, people.attributes)
    lessons = lessons_of_people(silent, decoded_images(people.samples, (64, 32)))
    assert all(sentence.said is not None for sentence in lessons.sentences(0, np.random.default_rng(0)))


def test_codes_tell_yes_no_and_unknown() -> None:
    holds, known = is_yes(np.array([[0, 1, 2]], np.int8))
    assert holds.tolist() == [[False, False, True]]
    assert known.tolist() == [[False, True, True]]


@given(seeds)
def test_a_shortened_description_loses_at_most_one_whole_sentence(seed: int) -> None:
    description = "A man in black. He carries a bag. His hair is short."
    kept = shortened(description, np.random.default_rng(seed))
    parts = {part.strip() for part in description.split(".") if part.strip()}
    left = {part.strip() for part in kept.split(".") if part.strip()}
    assert left <= parts
    assert len(left) >= len(parts) - 1

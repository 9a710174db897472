"""What the small model learns from: pictures of described people and, with a teacher, invented ones beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.contracts import F32
from reid_models.datasets.attribute_sentences import UNTOLD, YES, attribute_sentence, claims, told_part
from reid_models.datasets.composites import Composites, joined_attributes
from reid_models.datasets.described import DescribedPeople
from reid_models.datasets.sample import I64
from reid_models.datasets.training_sets import U8

INVENTED = -1  # the label of a picture that shows nobody
ONE_SENTENCE_LESS = 0.3  # of written descriptions of several sentences: how often one of them is left out


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and of whom it is true: of everybody with these attributes or, as it was written, of one subject."""

    text: str
    said: frozenset[tuple[str, int]] | None
    subject: int


@dataclass(frozen=True, eq=False)
class Lessons:
    """Pictures first of people, then of invented ones. A subject is a person or an invention; people come first."""

    people: DescribedPeople
    images: U8  # (N, H, W, 3) RGB
    labels: I64  # (N,) identity, or `INVENTED`
    subjects: I64  # (N,) place in `attributes`
    attributes: tuple[Mapping[str, int], ...]  # of every subject
    taught: F32  # (N, D) what the teacher says, unit vectors; zero where it was not asked, D is 0 without a teacher

    @cached_property
    def attribute_names(self) -> tuple[str, ...]:
        return tuple(sorted(self.attributes[0]))

    @cached_property
    def codes(self) -> npt.NDArray[np.int8]:
        """(subjects, attributes) in the order of `attribute_names`; `UNTOLD` is not known."""
        rows = [[attributes[name] for name in self.attribute_names] for attributes in self.attributes]
        return np.array(rows, np.int8)

    def sentences(self, subject: int, rng: np.random.Generator) -> list[Sentence]:
        """Two sentences about a person, one of them as people wrote it where there is such; one about an invention."""
        if subject >= len(self.people.captions):
            return [self._made(subject, rng)]
        written = self.people.captions[subject]
        other = (
            Sentence(shortened(str(rng.choice(written)), rng), None, subject) if written else self._made(subject, rng)
        )
        return [self._made(subject, rng), other]

    def truth(self, sentences: Sequence[Sentence], subjects: I64) -> npt.NDArray[np.bool_]:
        """(subjects, sentences): which sentence is true of whom. Every sentence is true of its own subject."""
        column = {name: place for place, name in enumerate(self.attribute_names)}
        own = np.array([sentence.subject for sentence in sentences], np.int64)
        is_true: npt.NDArray[np.bool_] = subjects[:, None] == own
        for place, sentence in enumerate(sentences):
            if sentence.said:
                names, values = zip(*sentence.said, strict=True)
                columns = np.array([column[name] for name in names])
                found = self.codes[subjects[:, None], columns]
                is_true[:, place] |= (found == np.array(values)).all(axis=1)
        return is_true

    def _made(self, subject: int, rng: np.random.Generator) -> Sentence:
        told = told_part(self.attributes[subject], rng)
        return Sentence(attribute_sentence(told, rng, detail=1.0), claims(told), subject)


def lessons_of_people(people: DescribedPeople, images: U8) -> Lessons:
    """Without a teacher. `images` are those of the people's samples, in order."""
    nothing = np.zeros((len(images), 0), np.float32)
    return Lessons(people, images, people.labels, people.labels, people.attributes, nothing)


def with_inventions(lessons: Lessons, taught: F32, composites: Composites, taught_of_composites: F32) -> Lessons:
    """With composites of the first `len(taught)` pictures, and what the teacher says of these and of the composites."""
    made = tuple(
        joined_attributes(
            lessons.attributes[lessons.subjects[upper]],
            lessons.attributes[lessons.subjects[lower]],
            (bool(changed[0]), bool(changed[1])),
        )
        for upper, lower, changed in zip(composites.upper, composites.lower, composites.recoloured, strict=True)
    )
    count, width = len(lessons.images), taught.shape[1]
    silent = np.zeros((count - len(taught), width), np.float32)
    return Lessons(
        lessons.people,
        np.concatenate([lessons.images, composites.images]),
        np.concatenate([lessons.labels, np.full(len(made), INVENTED, np.int64)]),
        np.concatenate([lessons.subjects, len(lessons.attributes) + np.arange(len(made))]),
        (*lessons.attributes, *made),
        np.concatenate([taught, silent, taught_of_composites]),
    )


def is_yes(codes: npt.NDArray[np.int8]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which attributes hold, and of which it is known. Of an age, `YES` and more is told from less."""
    return codes >= YES, codes != UNTOLD


def shortened(description: str, rng: np.random.Generator) -> str:
    """Sometimes without one of its sentences, so that no detail stands for the whole."""
    parts = [part.strip() for part in description.split(".") if part.strip()]
    if len(parts) < 2 or rng.random() > ONE_SENTENCE_LESS:
        return description
    parts.pop(int(rng.integers(len(parts))))
    return ". ".join(parts)

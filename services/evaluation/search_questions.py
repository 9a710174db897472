"""Questions whose right answers are known: what people wrote, and what the coded attributes of people say. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from textwrap import shorten

import numpy as np

from pipeline.search.wording import MAX_QUERY_CHARACTERS
from reid_models.datasets.attribute_sentences import LOWER_COLOURS, NO, UPPER_COLOURS, YES
from reid_models.datasets.sample import Caption

Coded = Mapping[str, int]

# What can be asked for or denied: the words, and the code that says so (coding: `attribute_sentences.py`).
THINGS: Mapping[str, tuple[str, int]] = {
    "backpack": ("backpack", YES),
    "shoulder bag": ("bag", YES),
    "handbag": ("handbag", YES),
    "hat": ("hat", YES),
    "skirt": ("clothes", 1),
    "shorts": ("down", 2),
    "long hair": ("hair", 2),
}
_CARRIED = ("backpack", "shoulder bag")  # what the questions ask for; of the others too few people have any
_DENIED = ("backpack", "shoulder bag", "skirt")
_PEOPLE = {1: ("man", "guy", "male"), 2: ("woman", "lady", "female")}
_UPPER = {1: ("jacket", "coat", "long sleeved shirt"), 2: ("shirt", "t-shirt", "top")}
_LOWER = {1: ("pants", "trousers"), 2: ("shorts",)}
_SKIRTS = ("skirt", "dress")


class Kind(StrEnum):
    """Where a question comes from."""

    CAPTION = "caption"  # somebody described one person
    ATTRIBUTES = "attributes"  # what is coded of a person, as people type it
    NEGATION = "negation"  # the same with a thing that the person has not


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and of whom it is true."""

    kind: Kind
    text: str
    right: frozenset[int]
    denied: str = ""  # the thing of `THINGS` that must not be there


def caption_questions(captions: Sequence[Caption]) -> list[Question]:
    """Only whom it was written about is right, though it may be true of others. What is too long loses its end."""
    return [
        Question(
            Kind.CAPTION, shorten(caption.text, MAX_QUERY_CHARACTERS, placeholder=""), frozenset({caption.identity})
        )
        for caption in captions
    ]


def attribute_questions(coded: Mapping[int, Coded], each: int, rng: np.random.Generator) -> list[Question]:
    """`each` questions about each person, half of them with a negation where there is something to deny."""
    return [
        question for person in sorted(coded) for _ in range(each) for question in _question(coded[person], coded, rng)
    ]


def _question(person: Coded, coded: Mapping[int, Coded], rng: np.random.Generator) -> Iterator[Question]:
    told = list(_told(person, rng))
    if not told:
        return
    count = int(rng.integers(1, len(told) + 1))
    chosen = [told[place] for place in sorted(rng.permutation(len(told))[:count].tolist())]
    facts = {name: code for said, _ in chosen for name, code in said.items()}
    words = [word for _, word in chosen]
    who = ""
    if rng.random() < 0.7:
        who, facts["gender"] = _pick(_PEOPLE[person["gender"]], rng), person["gender"]
    deniable = [thing for thing in _DENIED if not _has(person, thing) and THINGS[thing][0] not in facts]
    denied = _pick(deniable, rng) if deniable and rng.random() < 0.5 else ""
    right = frozenset(
        number
        for number, other in coded.items()
        if all(other[name] == code for name, code in facts.items()) and not (denied and _has(other, denied))
    )
    kind = Kind.NEGATION if denied else Kind.ATTRIBUTES
    yield Question(kind, _sentence(who, words, denied, rng), right, denied)


def _told(person: Coded, rng: np.random.Generator) -> Iterator[tuple[dict[str, int], str]]:
    """What can be said of a person: the codes that it claims, and the words."""
    upper = next((colour for colour in UPPER_COLOURS if person[f"up{colour}"] == YES), None)
    if upper is not None:
        yield {f"up{upper}": YES, "up": person["up"]}, f"{upper} {_pick(_UPPER[person['up']], rng)}"
    lower = next((colour for colour in LOWER_COLOURS if person[f"down{colour}"] == YES), None)
    if lower is not None:
        has_skirt = _has(person, "skirt")
        codes = {f"down{lower}": YES, "clothes": person["clothes"]} | ({} if has_skirt else {"down": person["down"]})
        yield codes, f"{lower} {_pick(_SKIRTS if has_skirt else _LOWER[person['down']], rng)}"
    for thing in _CARRIED:
        if _has(person, thing):
            yield {THINGS[thing][0]: YES}, thing


def _sentence(who: str, words: Sequence[str], denied: str, rng: np.random.Generator) -> str:
    """As a list, or as a sentence: people type both."""
    if rng.random() < 0.5:
        return ", ".join([*([who] if who else []), *words, *([f"no {denied}"] if denied else [])])
    told = " and ".join(_with_article(word) for word in words)
    sentence = f"{_with_article(who or 'person')} with {told}"
    return f"{sentence}, without {_with_article(denied)}" if denied else sentence


def _has(person: Coded, thing: str) -> bool:
    name, code = THINGS[thing]
    return person.get(name, NO) == code


def _with_article(noun: str) -> str:
    return noun if noun.endswith("s") else f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]

"""What can be said about a person: descriptions in varied wordings, and queries with everybody who satisfies them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.adapters.simulation.people import Carried, Gender, Lower, Person, Upper

_UPPER_WORDS = {
    Upper.T_SHIRT: ("t-shirt", "short sleeved shirt", "short sleeved top"),
    Upper.SHIRT: ("long sleeved shirt", "shirt with long sleeves", "sweater"),
    Upper.JACKET: ("jacket",),
    Upper.COAT: ("coat", "long coat"),
}
_LOWER_WORDS = {
    Lower.TROUSERS: ("trousers", "pants", "long pants"),
    Lower.SHORTS: ("shorts", "short pants"),
    Lower.SKIRT: ("skirt", "short skirt"),
}
_CARRIED_WORDS = {
    Carried.BACKPACK: ("a backpack", "a backpack on the back"),
    Carried.BAG: ("a shoulder bag", "a bag over the shoulder"),
    Carried.HANDBAG: ("a handbag", "a handbag in one hand"),
}


@dataclass(frozen=True, slots=True)
class TrueQuery:
    """A sentence and all persons of the site of whom it is true."""

    sentence: str
    person_ids: frozenset[int]


def describe(person: Person, rng: np.random.Generator, carried_is_visible: bool = True) -> str:
    """One sentence about clothes, hair and things carried; the wording is drawn from `rng`."""
    who = _who(person, rng)
    clothes = _clothes(person, rng)
    carried = _pick(_CARRIED_WORDS[person.carried], rng) if carried_is_visible and _carries(person) else ""
    verb = str(rng.choice(("carrying", "with")))
    shape = int(rng.integers(3))
    if shape == 0:
        return f"{who} in {clothes}{f' {verb} {carried}' if carried else ''}"
    if shape == 1:
        return f"{who} wearing {clothes}{f' and carrying {carried}' if carried else ''}."
    subject, pronoun = who[0].upper() + who[1:], "She" if person.gender is Gender.WOMAN else "He"
    return f"{subject} is wearing {clothes}.{f' {pronoun} has {carried}.' if carried else ''}"


def true_queries(people: Sequence[Person]) -> list[TrueQuery]:
    """Attribute sentences of each person in rising detail, each once, with everybody who satisfies it exactly."""
    sentences = {sentence: said for person in people for sentence, said in _statements(person)}
    return [
        TrueQuery(sentence, frozenset(p.person_id for p in people if said <= _facts(p)))
        for sentence, said in sentences.items()
    ]


def _statements(person: Person) -> Iterator[tuple[str, frozenset[str]]]:
    gender, upper, lower = person.gender.value, person.upper, person.lower
    with_carried = f" with {_CARRIED_WORDS[person.carried][0]}" if _carries(person) else ""
    if lower is Lower.DRESS:
        short = f"a {gender} in a {person.upper_colour} dress"
        short_facts = {gender, f"upper {person.upper_colour}", lower.value}
        full, full_facts = short, short_facts
    else:
        short = f"a {gender} in a {person.upper_colour} {_UPPER_WORDS[upper][0]}"
        short_facts = {gender, f"upper {person.upper_colour}", upper.value}
        full = f"{short} and {_article(lower)}{person.lower_colour} {_LOWER_WORDS[lower][0]}"
        full_facts = short_facts | {f"lower {person.lower_colour}", lower.value}
    yield short, frozenset(short_facts)
    if full != short:
        yield full, frozenset(full_facts)
    if with_carried:
        yield short + with_carried, frozenset(short_facts | {person.carried.value})
        if full != short:
            yield full + with_carried, frozenset(full_facts | {person.carried.value})


def _facts(person: Person) -> frozenset[str]:
    return frozenset({
        person.gender.value, person.upper.value, person.lower.value, person.carried.value,
        f"upper {person.upper_colour}", f"lower {person.lower_colour}",
    })  # fmt: skip


def _who(person: Person, rng: np.random.Generator) -> str:
    names = ("a woman", "a lady", "a female") if person.gender is Gender.WOMAN else ("a man", "a male", "a man")
    who = _pick(names, rng)
    if person.age == 1:
        who = "a girl" if person.gender is Gender.WOMAN else "a boy"
    if person.age == 4 and rng.random() < 0.5:
        who = who.replace("a ", "an old ", 1)
    extras = []
    if rng.random() < 0.6:
        extras.append("long hair" if person.has_long_hair else "short hair")
    if person.has_hat:
        extras.append("a hat")
    return f"{who} with {' and '.join(extras)}" if extras else who


def _clothes(person: Person, rng: np.random.Generator) -> str:
    if person.lower is Lower.DRESS:
        sleeves = "with long sleeves" if person.has_long_sleeves else "with short sleeves"
        return f"a {person.upper_colour} dress {sleeves}" if rng.random() < 0.5 else f"a {person.upper_colour} dress"
    upper, lower = _pick(_UPPER_WORDS[person.upper], rng), _pick(_LOWER_WORDS[person.lower], rng)
    return f"a {person.upper_colour} {upper} and {_article(person.lower)}{person.lower_colour} {lower}"


def _article(lower: Lower) -> str:
    return "a " if lower is Lower.SKIRT else ""


def _carries(person: Person) -> bool:
    return person.carried is not Carried.NOTHING


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]

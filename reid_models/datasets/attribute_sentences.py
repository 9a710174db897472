"""Sentences made from coded attributes, in varied wordings, so that every identity can be described.

Coding (Market-1501-attribute): no 1, yes 2; gender man 1, woman 2; hair short 1, long 2; `up` long sleeves 1, short 2;
`down` long 1, short 2; `clothes` dress or skirt 1, trousers 2; age 1 child to 4 old; one colour of each half
is 2, or none. Where a sentence is to leave out gender, hair, age or the clothes of one half, its code is `UNTOLD`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

UNTOLD, NO, YES = 0, 1, 2
LONG, SHORT = 1, 2
MAN, WOMAN = 1, 2
DRESS = 1
CHILD, TEENAGER, ADULT, OLD = 1, 2, 3, 4

UPPER_COLOURS = ("black", "blue", "green", "gray", "purple", "red", "white", "yellow")
LOWER_COLOURS = ("black", "blue", "brown", "gray", "green", "pink", "purple", "white", "yellow")

# Other words for what the coding calls one colour.
_SHADES = {
    "black": ("black", "black", "dark", "dark colored"),
    "blue": ("blue", "blue", "dark blue", "light blue", "navy", "navy blue"),
    "green": ("green", "green", "dark green", "light green"),
    "gray": ("gray", "grey", "dark gray", "light gray"),
    "purple": ("purple", "purple", "violet"),
    "red": ("red", "red", "bright red", "dark red"),
    "white": ("white", "white", "light colored"),
    "yellow": ("yellow", "yellow", "bright yellow"),
    "brown": ("brown", "tan", "beige", "khaki"),
    "pink": ("pink", "light pink", "bright pink"),
}
_UPPER = {
    LONG: ("long sleeved shirt", "long sleeve shirt", "jacket", "coat", "sweater", "hoodie", "top with long sleeves"),
    SHORT: ("t-shirt", "t-shirt", "tee", "short sleeved shirt", "short sleeve shirt", "shirt", "top", "blouse"),
}
_TROUSERS = {
    LONG: ("pants", "pants", "trousers", "long pants", "jeans", "slacks"),
    SHORT: ("shorts", "shorts", "short pants"),
}
_DRESSES = {
    LONG: ("a {} long skirt", "a {} skirt", "a long {} dress", "a {} dress"),
    SHORT: ("a {} skirt", "a short {} skirt", "a {} dress", "a short {} dress"),
}
_CARRIED = {
    "backpack": ("a backpack", "a back pack", "a rucksack", "a backpack on the back", "a knapsack"),
    "bag": ("a bag", "a shoulder bag", "a bag over the shoulder", "a messenger bag", "a satchel"),
    "handbag": ("a handbag", "a purse", "a hand bag", "a handbag in one hand"),
}
_UNTOLD_AS_ZERO = ("hair", "gender", "age", "up", "down")
_HALVES = (
    ["up", *(f"up{colour}" for colour in UPPER_COLOURS)],
    ["down", *(f"down{colour}" for colour in LOWER_COLOURS)],
)
_PEOPLE = {
    MAN: ("man", "man", "male", "guy", "male pedestrian", "gentleman"),
    WOMAN: ("woman", "woman", "lady", "female", "female pedestrian"),
}
_YOUNG = {MAN: "boy", WOMAN: "girl"}
_PRONOUNS = {MAN: "he", WOMAN: "she"}


def attribute_sentence(attributes: Mapping[str, int], rng: np.random.Generator, detail: float = 0.75) -> str:
    """One true sentence. Each attribute is mentioned with probability `detail`, the clothes of one half always."""
    upper, lower = _upper(attributes, rng), _lower(attributes, rng)
    clothes = " and ".join(part for part in (upper, lower) if part)
    if rng.random() > detail and upper and lower:
        clothes = upper if rng.random() < 0.5 else lower
    carried = [
        _pick(words, rng) for name, words in _CARRIED.items() if attributes[name] == YES and rng.random() < detail
    ]
    things = " and ".join(carried)
    who = _who(attributes, rng, detail)
    shape = int(rng.integers(4))
    if shape == 0:
        verb = _pick(("carrying", "with"), rng)
        return f"{who} in {clothes}{f' {verb} {things}' if things else ''}"
    if shape == 1:
        return f"{who} wearing {clothes}{f' and carrying {things}' if things else ''}."
    if shape == 2:
        return f"The {who.split(' ', 1)[1]} wears {clothes}{f' and carries {things}' if things else ''}."
    pronoun = _pick((_PRONOUNS.get(attributes["gender"], "the person"), "the person"), rng)
    return f"{who} is wearing {clothes}.{f' {pronoun} has {things}.' if things else ''}"


def told_part(attributes: Mapping[str, int], rng: np.random.Generator, detail: float = 0.75) -> dict[str, int]:
    """The attributes as a sentence with this `detail` tells them: each is left out with probability 1 - `detail`, the
    clothes of one half never.
    """
    told = dict(attributes)
    silent = [name for name in (*_CARRIED, "hat", "hair", "gender", "age") if rng.random() > detail]
    if rng.random() > detail:
        silent += _HALVES[int(rng.integers(2))]
    for half, colours in (("up", UPPER_COLOURS), ("down", LOWER_COLOURS)):
        if rng.random() > detail:
            silent += [f"{half}{colour}" for colour in colours]
    for name in silent:
        told[name] = UNTOLD if name in _UNTOLD_AS_ZERO else NO
    return told


def claims(told: Mapping[str, int]) -> frozenset[tuple[str, int]]:
    """What a sentence made from `told` (see `told_part`) says: pairs of attribute and code. It is true of everybody in
    whose attributes all of them are. That something is not carried or worn is never said.
    """
    said = {(name, told[name]) for name in ("gender", "hair", "up", "down") if told[name] != UNTOLD}
    if told["down"] != UNTOLD:
        said.add(("clothes", told["clothes"]))
        said |= {(f"down{colour}", YES) for colour in LOWER_COLOURS if told[f"down{colour}"] == YES}
    if told["up"] != UNTOLD:
        said |= {(f"up{colour}", YES) for colour in UPPER_COLOURS if told[f"up{colour}"] == YES}
    if told["age"] in (CHILD, OLD):
        said.add(("age", told["age"]))
    return frozenset(said | {(name, YES) for name in (*_CARRIED, "hat") if told[name] == YES})


def _who(attributes: Mapping[str, int], rng: np.random.Generator, detail: float) -> str:
    gender, age = attributes["gender"], attributes["age"]
    noun = _pick(_PEOPLE.get(gender, ("person",)), rng) if rng.random() < detail + (1 - detail) / 2 else "person"
    if age == CHILD or (age == TEENAGER and rng.random() < 0.1):
        noun = _pick((_YOUNG.get(gender, "child"), f"young {noun}"), rng)
    elif age == OLD and rng.random() < detail:
        noun = " ".join((_pick(("old", "older", "elderly"), rng), noun))
    extras = []
    if rng.random() < detail / 2 and attributes["hair"] != UNTOLD:
        extras.append("short hair" if attributes["hair"] == 1 else "long hair")
    if attributes["hat"] == YES and rng.random() < detail:
        extras.append(_pick(("a hat", "a cap"), rng))
    return " with ".join((_article(noun), " and ".join(extras))) if extras else _article(noun)


def _upper(attributes: Mapping[str, int], rng: np.random.Generator) -> str:
    if attributes["up"] == UNTOLD:
        return ""
    garment = _pick(_UPPER[attributes["up"]], rng)
    colour = _colour(attributes, "up", UPPER_COLOURS, rng)
    return _article(f"{colour} {garment}" if colour else garment)


def _lower(attributes: Mapping[str, int], rng: np.random.Generator) -> str:
    if attributes["down"] == UNTOLD:
        return ""
    colour = _colour(attributes, "down", LOWER_COLOURS, rng)
    if attributes["clothes"] == DRESS:
        return " ".join(_pick(_DRESSES[attributes["down"]], rng).format(colour).split())
    garment = _pick(_TROUSERS[attributes["down"]], rng)
    pair = "a pair of " if rng.random() < 0.3 else ""
    return f"{pair}{colour} {garment}" if colour else f"{pair}{garment}"


def _colour(attributes: Mapping[str, int], half: str, colours: Sequence[str], rng: np.random.Generator) -> str:
    """The colour of one half in some wording; empty where the coding names none."""
    named = [colour for colour in colours if attributes[f"{half}{colour}"] == YES]
    return _pick(_SHADES[named[0]], rng) if named else ""


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]

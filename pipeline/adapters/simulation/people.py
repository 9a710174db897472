"""The population of a simulated site: what each person looks like, in numbers for the renderer and in words for search.

Attributes use the vocabulary and coding of the Market-1501 attribute annotations (Lin et al., 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

Colour = tuple[int, int, int]  # RGB, 0 to 255

UPPER_COLOURS: dict[str, Colour] = {
    "black": (30, 30, 35),
    "white": (226, 226, 222),
    "red": (186, 34, 40),
    "purple": (112, 52, 146),
    "yellow": (222, 190, 48),
    "gray": (128, 130, 133),
    "blue": (38, 74, 172),
    "green": (42, 128, 66),
}
LOWER_COLOURS: dict[str, Colour] = {
    "black": (28, 28, 32),
    "white": (218, 216, 210),
    "pink": (222, 138, 164),
    "purple": (98, 56, 128),
    "yellow": (206, 176, 70),
    "gray": (118, 120, 124),
    "blue": (48, 66, 122),
    "green": (62, 100, 58),
    "brown": (110, 76, 48),
}
_LOWER_SHARE = (0.2, 0.1, 0.06, 0.05, 0.05, 0.15, 0.21, 0.06, 0.12)
_SKIN: tuple[Colour, ...] = ((238, 200, 172), (222, 176, 142), (190, 138, 104), (146, 98, 70), (100, 66, 48))
_HAIR: tuple[Colour, ...] = ((26, 22, 20), (44, 32, 24), (82, 56, 36), (140, 104, 62), (188, 158, 104))
_GRAY_HAIR: Colour = (176, 174, 170)
_BAG_COLOURS: tuple[Colour, ...] = ((34, 34, 40), (92, 58, 36), (60, 70, 96), (120, 32, 36), (70, 78, 58))
_SHOES: tuple[Colour, ...] = ((26, 26, 28), (212, 212, 208), (88, 62, 44), (60, 62, 70), (120, 40, 44))


class Gender(StrEnum):
    MAN = "man"
    WOMAN = "woman"


class Upper(StrEnum):
    """The garment above the waist; the first has short sleeves, the others long ones."""

    T_SHIRT = "t-shirt"
    SHIRT = "shirt"
    JACKET = "jacket"
    COAT = "coat"


class Lower(StrEnum):
    """The garment below the waist. A dress has one colour, which is therefore its upper and its lower colour."""

    TROUSERS = "trousers"
    SHORTS = "shorts"
    SKIRT = "skirt"
    DRESS = "dress"


class Carried(StrEnum):
    NOTHING = "nothing"
    BACKPACK = "backpack"
    BAG = "bag"  # over the shoulder
    HANDBAG = "handbag"


@dataclass(frozen=True, slots=True)
class Person:
    """One inhabitant of the site. Sizes in metres; `girth` and `shoulders` scale an average build."""

    person_id: int
    gender: Gender
    age: int  # 1 child, 2 young, 3 adult, 4 old
    height_m: float
    girth: float
    shoulders: float
    speed_m_s: float
    has_long_hair: bool
    has_hat: bool
    upper: Upper
    lower: Lower
    carried: Carried
    upper_colour: str
    lower_colour: str
    upper_rgb: Colour
    lower_rgb: Colour
    skin_rgb: Colour
    hair_rgb: Colour
    shoe_rgb: Colour
    bag_rgb: Colour
    hat_rgb: Colour
    has_logo: bool

    @property
    def has_long_sleeves(self) -> bool:
        return self.upper is not Upper.T_SHIRT

    @property
    def is_bare_legged(self) -> bool:
        return self.lower is not Lower.TROUSERS

    @property
    def attributes(self) -> dict[str, int]:
        """The 27 Market-1501 attributes: no 1, yes 2; sleeves long 1, short 2; trousers long 1, short 2;
        dress or skirt 1, trousers 2."""
        coded = {
            "age": self.age,
            "backpack": 1 + (self.carried is Carried.BACKPACK),
            "bag": 1 + (self.carried is Carried.BAG),
            "handbag": 1 + (self.carried is Carried.HANDBAG),
            "clothes": 1 if self.lower in (Lower.SKIRT, Lower.DRESS) else 2,
            "down": 1 + self.is_bare_legged,
            "up": 1 if self.has_long_sleeves else 2,
            "hair": 1 + self.has_long_hair,
            "hat": 1 + self.has_hat,
            "gender": 1 + (self.gender is Gender.WOMAN),
        }
        coded |= {f"up{colour}": 1 + (colour == self.upper_colour) for colour in UPPER_COLOURS}
        coded |= {f"down{colour}": 1 + (colour == self.lower_colour) for colour in LOWER_COLOURS}
        return coded


def population(seed: int, size: int) -> tuple[Person, ...]:
    """`size` people numbered from 1. Both colours together repeat only after half of all pairs were worn."""
    rng = np.random.default_rng([seed, 1])
    people: list[Person] = []
    taken: set[tuple[str, str]] = set()
    for person_id in range(1, size + 1):
        if len(taken) >= len(UPPER_COLOURS) * len(LOWER_COLOURS) // 2:
            taken.clear()
        person = _draw(person_id, rng)
        while (person.upper_colour, person.lower_colour) in taken:
            person = _draw(person_id, rng)
        taken.add((person.upper_colour, person.lower_colour))
        people.append(person)
    return tuple(people)


def _draw(person_id: int, rng: np.random.Generator) -> Person:
    is_woman = bool(rng.random() < 0.5)
    age = int(rng.choice((1, 2, 3, 4), p=(0.05, 0.5, 0.35, 0.1)))
    height_m = float(rng.uniform(1.2, 1.42) if age == 1 else rng.normal(1.66 if is_woman else 1.78, 0.055))
    upper = Upper(rng.choice(list(Upper), p=(0.45, 0.25, 0.18, 0.12)))
    skirts = 0.2 if is_woman else 0.0
    lower = Lower(rng.choice(list(Lower), p=(0.72 - 1.6 * skirts, 0.28 - 0.4 * skirts, skirts, skirts)))
    upper_colour = str(rng.choice(list(UPPER_COLOURS)))
    lower_colour = str(rng.choice(list(LOWER_COLOURS), p=_LOWER_SHARE))
    if lower is Lower.DRESS:
        # The vocabulary has no red below the waist, so a red dress cannot be written down.
        lower_colour = upper_colour = "green" if upper_colour == "red" else upper_colour
        upper = Upper.SHIRT if upper in (Upper.JACKET, Upper.COAT) else upper
    upper_rgb = _near(UPPER_COLOURS[upper_colour], rng)
    lower_rgb = upper_rgb if upper_colour == lower_colour else _near(LOWER_COLOURS[lower_colour], rng)
    hair_rgb = _GRAY_HAIR if age == 4 else _HAIR[int(rng.integers(len(_HAIR)))]
    return Person(
        person_id=person_id,
        gender=Gender.WOMAN if is_woman else Gender.MAN,
        age=age,
        height_m=float(np.clip(height_m, 1.2, 1.96)),
        girth=float(rng.uniform(0.88, 1.22)),
        shoulders=float(rng.normal(0.92 if is_woman else 1.03, 0.04)),
        speed_m_s=float(rng.uniform(0.85, 1.05) if age == 4 else rng.uniform(1.05, 1.5)),
        has_long_hair=bool(rng.random() < (0.75 if is_woman else 0.06)),
        has_hat=bool(rng.random() < 0.13),
        upper=upper,
        lower=lower,
        carried=Carried(rng.choice(list(Carried), p=(0.4, 0.28, 0.18, 0.14))),
        upper_colour=upper_colour,
        lower_colour=lower_colour,
        upper_rgb=upper_rgb,
        lower_rgb=lower_rgb,
        skin_rgb=_near(_SKIN[int(rng.choice(len(_SKIN), p=(0.3, 0.3, 0.2, 0.12, 0.08)))], rng),
        hair_rgb=_near(hair_rgb, rng),
        shoe_rgb=_SHOES[int(rng.integers(len(_SHOES)))],
        bag_rgb=_BAG_COLOURS[int(rng.integers(len(_BAG_COLOURS)))],
        hat_rgb=tuple(UPPER_COLOURS.values())[int(rng.integers(len(UPPER_COLOURS)))],
        has_logo=bool(rng.random() < 0.3),
    )


def _near(colour: Colour, rng: np.random.Generator) -> Colour:
    """A shade of the same name."""
    shade = np.clip(np.array(colour) * rng.uniform(0.88, 1.1) + rng.normal(0, 5, 3), 8, 245).astype(int)
    return int(shade[0]), int(shade[1]), int(shade[2])

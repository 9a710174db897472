"""Fixed splits for the small data sets whose protocol says "half of the people at random, ten times".

Common readers draw them anew, so that no two papers test on the same people. Ours stand in `random_splits.json`, which
`random_splits()` makes: people are ordered by a digest of set, split and place, so neither a seed nor a library's
generator can change them. A place is a person's position among the set's sorted identities, from 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pipeline.errors import ConfigurationError

Item = TypeVar("Item", int, str)

SPLITS = 10
PEOPLE = {"prid": 200, "grid": 250, "viper": 632, "ilids": 119}
TRAINING_PEOPLE = {"prid": 100, "grid": 125, "viper": 316, "ilids": 59}
FILE = Path(__file__).with_name("random_splits.json")


def random_splits() -> dict[str, list[list[int]]]:
    """Of each set, in each split: the places of the people who train, sorted."""
    return {
        name: [sorted(drawn(f"{name}/{split}", range(people), TRAINING_PEOPLE[name])) for split in range(SPLITS)]
        for name, people in PEOPLE.items()
    }


def training_places(name: str, split: int) -> frozenset[int]:
    """Who trains in one of the fixed splits, counted from 0. Raises `ConfigurationError` for a split that is not."""
    require_split(name, split)
    return frozenset(json.loads(FILE.read_text())[name][split])


def require_split(name: str, split: int) -> None:
    """Raises `ConfigurationError` for a split that is not one of the ten."""
    if not 0 <= split < SPLITS:
        raise ConfigurationError(
            f"{name} has no split {split}; expected 0 to {SPLITS - 1}, of which papers report the mean"
        )


def drawn(salt: str, items: Iterable[Item], count: int) -> list[Item]:
    """`count` of the items, as good as random, and the same for ever."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{salt}/{item}".encode()).digest())[:count]

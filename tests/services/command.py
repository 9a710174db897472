"""The command `sightline` as tests call it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    errors: str


Sightline = Callable[..., Ended]  # the folder to be in, then the words after the command's name

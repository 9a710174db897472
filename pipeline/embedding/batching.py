"""When a batch of crops is worth an encoder pass: when it is full, or when its oldest entry has waited long enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """Full or late, whichever is first."""

    crops: int = 32
    max_wait_s: float = 0.2

    def __post_init__(self) -> None:
        if self.crops < 1 or self.max_wait_s < 0.0:
            raise ValueError(
                f"a batch of {self.crops} crops that waits {self.max_wait_s} s; expected at least 1 and 0 s"
            )


def is_due(crops: int, waited_s: float, config: BatchConfig) -> bool:
    """Whether `crops` waiting crops, the oldest for `waited_s`, should be embedded now. Nothing is never due."""
    return crops > 0 and (crops >= config.crops or waited_s >= config.max_wait_s)


def patience_s(crops: int, waited_s: float, idle_s: float, config: BatchConfig) -> float:
    """How long the next read may wait for more: `idle_s` with nothing in hand, else what is left of the waiting."""
    if crops == 0:
        return idle_s
    return 0.0 if is_due(crops, waited_s, config) else config.max_wait_s - waited_s


def taken(crop_counts: Iterable[int], config: BatchConfig) -> int:
    """How many of the waiting tracklets, oldest first, make the next batch: whole ones, and at least one."""
    total = tracklets = 0
    for crops in crop_counts:
        total += crops
        if tracklets and total > config.crops:
            break
        tracklets += 1
    return tracklets

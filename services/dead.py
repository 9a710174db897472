"""Dead letters for the operator: look at them, send them again."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.interfaces import Bus, DeadLetter
from services.runtime import open_bus
from services.settings import Settings

EVERYTHING = 1_000_000  # letters; more cannot be held, because the stream of the dead is bounded


def list_dead(settings: Settings, limit: int) -> list[DeadLetter]:
    """The newest `limit` dead letters of the site, newest first. Raises `Unavailable` without a bus."""
    return open_bus(settings).dead_letters(limit)


def replay_dead(settings: Settings, entry_ids: Sequence[str]) -> int:
    """Send these dead letters again, or all when none is named; how many were sent."""
    return replay(open_bus(settings), entry_ids)


def replay(bus: Bus, entry_ids: Sequence[str]) -> int:
    """Oldest first, so that they arrive in the order in which they failed."""
    return bus.replay(entry_ids or [letter.entry_id for letter in reversed(bus.dead_letters(EVERYTHING))])

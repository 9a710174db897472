"""Which looks at single crops the audit log has to hear of: those that no recorded answer has led to."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from pipeline.contracts import BlobKey, GlobalId
from pipeline.interfaces import Clock

PersonsOfCrop = Callable[[BlobKey], frozenset[GlobalId]]

SHOWN_S = 600.0  # for so long one entry stands for all crops of a person
_MOST = 100_000  # accounts and persons that are remembered; whoever is forgotten is recorded once more


class CropViews:
    """Who was shown whom within the last minutes, in this process. Safe to call from many threads."""

    def __init__(self, persons_of_crop: PersonsOfCrop, clock: Clock) -> None:
        self._persons_of_crop = persons_of_crop
        self._clock = clock
        self._door = threading.Lock()
        self._shown_s: OrderedDict[tuple[str, GlobalId], float] = OrderedDict()  # when, the oldest first

    def showed(self, account: str, people: Iterable[GlobalId]) -> None:
        """An answer that is in the audit log shows an account these people."""
        now_s = self._clock.monotonic()
        with self._door:
            for person in people:
                self._shown_s[account, person] = now_s
                self._shown_s.move_to_end((account, person))
            while len(self._shown_s) > _MOST:
                self._shown_s.popitem(last=False)

    def unrecorded(self, account: str, key: BlobKey) -> list[GlobalId]:
        """Of the people in a crop those whose crops an account was not shown lately."""
        people = sorted(self._persons_of_crop(key))
        since_s = self._clock.monotonic() - SHOWN_S
        with self._door:
            return [person for person in people if self._shown_s.get((account, person), float("-inf")) < since_s]

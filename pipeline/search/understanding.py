"""A question in plain words: which of them are places and times, and which describe somebody. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from pipeline.contracts import CameraId
from pipeline.search.query import Filters
from pipeline.search.spans import find_spans

Places = tuple[tuple[int, int], ...]  # beginnings and ends in the question


class ChipKind(StrEnum):
    """What a chip narrows."""

    CAMERA = "camera"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that somebody put in words, to be shown and taken back.

    `without` is the question less these words; asking that takes the filter away. Ends of the time are UTC seconds.
    """

    kind: ChipKind
    words: str
    without: str
    camera_id: CameraId | None = None
    since_at: float | None = None
    until_at: float | None = None


@dataclass(frozen=True, slots=True)
class Understood:
    """`description` is the rest of the question, which describes somebody; it may be empty."""

    description: str
    chips: tuple[Chip, ...]

    def narrowed(self, filters: Filters) -> Filters:
        """`filters` and what was said in words: any of the cameras of both, and the time inside all times."""
        cameras = (chip.camera_id for chip in self.chips if chip.camera_id is not None)
        since = (at for at in (filters.since_at, *(chip.since_at for chip in self.chips)) if at is not None)
        until = (at for at in (filters.until_at, *(chip.until_at for chip in self.chips)) if at is not None)
        return replace(
            filters,
            camera_ids=filters.camera_ids | frozenset(cameras),
            since_at=max(since, default=None),
            until_at=min(until, default=None),
        )


def understand(question: str, cameras: Sequence[CameraId], now: datetime) -> Understood:
    """Take places and times out of `question`. `now` carries the time zone of the site.

    A camera is meant where its name follows a preposition and an article, or the word camera: "in the lobby", "at
    camera gate". A name after "in" alone is not, for a camera may be called black.
    """
    said: list[tuple[Places, Chip]] = [
        (((start, end),), Chip(ChipKind.CAMERA, question[start:end], "", camera_id=camera_id))
        for start, end, camera_id in _camera_spots(question, cameras)
    ]
    taken = [place for places, _ in said for place in places]
    for span in find_spans(question, now):
        if not any(start < last and first < end for start, end in span.places for first, last in taken):
            words = " ".join(question[start:end] for start, end in span.places)
            said.append((span.places, Chip(ChipKind.TIME, words, "", since_at=span.since_at, until_at=span.until_at)))
    said.sort(key=lambda each: each[0])
    return Understood(
        description=_cut(question, [place for places, _ in said for place in places]),
        chips=tuple(replace(chip, without=_cut(question, places)) for places, chip in said),
    )


def _camera_spots(question: str, cameras: Sequence[CameraId]) -> list[tuple[int, int, CameraId]]:
    spots: list[tuple[int, int, CameraId]] = []
    # The longest name first: "hall 2" is not "hall".
    for camera_id in sorted(cameras, key=len, reverse=True):
        name = r"[\s_-]+".join(re.escape(word) for word in re.split(r"[\s_-]+", camera_id) if word)
        if not name:
            continue
        place = rf"(?:in|at|on|near|by|from|before|inside|outside)\s+(?:the\s+(?:camera\s+)?|camera\s+){name}"
        ways = [place, rf"camera\s+{name}"] + ([] if camera_id.isdigit() else [rf"(?:at|near|from)\s+{name}"])
        for found in re.finditer(rf"\b(?:{'|'.join(ways)})(?:\s+camera)?(?!\w)", question, re.IGNORECASE):
            if all(found.end() <= start or found.start() >= end for start, end, _ in spots):
                spots.append((found.start(), found.end(), camera_id))
    return spots


def _cut(question: str, places: Sequence[tuple[int, int]]) -> str:
    """The question without these places, and without what they leave behind."""
    rest, position = "", 0
    for start, end in sorted(places):
        rest += question[position:start] + " "
        position = end
    rest += question[position:]
    rest = re.sub(r"\s+([,.;!?])", r"\1", " ".join(rest.split()))
    rest = re.sub(r"([,;])(?:\s*[,;])+", r"\1", rest)
    return re.sub(r"^[\s,;.]+|(?:[\s,;]|\b(?:and|or|but)\b)+$", "", rest)

"""A made-up site for the tests of the matcher's core: who walks where, and what is remembered of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.contracts import F32, GlobalId, TrackletEmbedding
from pipeline.kept import GalleryRows
from pipeline.matching.calibration import Calibration
from pipeline.matching.evidence import Candidates
from pipeline.matching.looks import LookPrior, straight_curves
from pipeline.matching.people import MemoryConfig, People, rows_with
from pipeline.matching.transit import TransitTimes
from tests.fakes import DIMENSION, embedding, unit_vectors

CAMERAS = ("gate", "hall", "yard")
# Of random directions in `DIMENSION` numbers, where one person is some 0.9 alike.
PRIOR = LookPrior(mean=0.0, deviation=0.25, curves=straight_curves(slope=5.0, midpoint=2.0))
MEMORY = MemoryConfig(prior=PRIOR)

Seen = tuple[TrackletEmbedding, GlobalId]


def calibration(cameras: Sequence[str] = CAMERAS, prior: LookPrior = PRIOR, **others: Any) -> Calibration:
    """One that knows the cameras and nothing else; all ways are as likely as they are at first."""
    size = len(cameras)
    counts = TransitTimes.unknown()
    wide = TransitTimes(np.zeros((size, size, counts.gaps.shape[2])), np.zeros(size), np.zeros(size), 0.0)
    first = replace(
        Calibration.first(DIMENSION, prior),
        cameras=tuple(cameras),
        offsets=np.zeros((size + 1, DIMENSION), np.float32),
        strangers_mean=np.full((size + 1, size + 1), prior.mean),
        strangers_deviation=np.full((size + 1, size + 1), prior.deviation),
        transit=wide,
    )
    return replace(first, **others)


def people_with(
    seen: Sequence[Seen] = (), config: MemoryConfig = MEMORY, known: Calibration | None = None, page: int = 10_000
) -> People:
    """A memory that was given `page` tracklets at a time."""
    people = People(ExactGallery(DIMENSION), DIMENSION, config, known)
    for begin in range(0, len(seen), page):
        people.remember(rows(seen[begin : begin + page]))
    return people


def rows(seen: Sequence[Seen]) -> GalleryRows:
    """As the database would give them, decided a second later, with odds that differ from track to track."""
    odds = [(piece.track_id % 7 / 8, 1.0 - piece.track_id % 5 / 8) for piece, _ in seen]
    decided_at = [piece.ended_at + 1.0 for piece, _ in seen]
    return rows_with([piece for piece, _ in seen], [whose for _, whose in seen], odds, decided_at)


def near(look: F32, rng: np.random.Generator, noise: float = 0.1) -> F32:
    """A unit vector that is `look`, seen badly."""
    vector = look + noise * rng.standard_normal(len(look))
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def walks(
    tracks: int, persons: int = 6, seed: int = 3, cameras: Sequence[str] = CAMERAS, noise: float = 0.1
) -> list[Seen]:
    """Up to two pieces of each of so many tracks in time order, beside their persons, of whom two often meet."""
    rng = np.random.default_rng(seed)
    looks = unit_vectors(rng, persons)
    found: list[Seen] = []
    before = -1
    for track_id in range(tracks):
        person = int(rng.choice([each for each in range(persons) if each != before]))
        before, camera_id, started_at = person, str(rng.choice(list(cameras))), 10.0 * track_id
        for sequence in range(int(rng.integers(1, 3))):
            began, vector = started_at + 6.1 * sequence, near(looks[person], rng, noise)
            piece = embedding(camera_id, track_id, sequence, started_at=began, ended_at=began + 6.0, vector=vector)
            found.append((piece, GlobalId(person + 1)))
    return found


def batch_of(seen: Iterable[Seen]) -> list[TrackletEmbedding]:
    """Without the persons."""
    return [piece for piece, _ in seen]


def nobody(arrivals: int, cameras: int) -> Candidates:
    """What is known before anybody was seen."""
    nothing, nowhere = np.zeros(0, np.int64), np.zeros((0, cameras + 1), np.int64)
    return Candidates(nothing, [], nothing, np.zeros(0), nowhere, np.zeros((arrivals, 0)), 0)

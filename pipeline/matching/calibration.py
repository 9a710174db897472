"""What a site has taught about its own cameras: how they colour what they see, how alike strangers look, how people
walk.

A calibration is made from what the matcher remembers, gets a number, and stays as it is until the next one; so every
decision can name the calibration that it was made with, and a restarted matcher decides as the undisturbed one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pipeline.contracts import F32, F64, I64
from pipeline.matching.transit import TransitTimes

_OFFSET_WEIGHT = 20.0  # exemplars that a camera needs before its own mean counts as much as the site's
_PAIR_WEIGHT = 300.0  # pairs of strangers that two cameras need, likewise
_LEAST_DEVIATION = 0.02
_MET_WEIGHT = 500.0  # pairs of certainly different people that are taken to have looked different before any met
_SAMPLE = 2048  # exemplars that are compared with one another


@dataclass(frozen=True, slots=True)
class LookCurve:
    """What a similarity tells, counted in standard deviations from the mean similarity of strangers.

    The log-odds of one person are `slope * (score - midpoint)` for two tracklets. The mean over the pairs of `n` and `m`
    tracklets tells more: chance likenesses average out, but what two people share does not. So the slope grows by
    `growth(n) * growth(m)`, and the midpoint with it. On Market-1501 the slope of four exemplars is 1.3 times that of
    one, and of four against four 1.6 to 2 times.
    """

    slope: float = 2.1
    midpoint: float = 1.95
    kept: float = 0.7
    shift: float = 0.4  # of the midpoint, with the logarithm of the growth

    def log_odds(self, score: F64, exemplars: F64, others: F64 | float = 1.0) -> F64:
        """Of each score, a mean over the pairs of so many exemplars and others."""
        growth = 1.0 / ((self.kept + (1.0 - self.kept) / exemplars) * (self.kept + (1.0 - self.kept) / others))
        found: F64 = self.slope * growth * (score - self.midpoint * (1.0 + self.shift * np.log(growth)))
        return found


@dataclass(frozen=True, eq=False)
class Calibration:
    """Cameras are places 0 to A-1 in `cameras`; place A is any camera not known yet.

    `offsets` is the mean appearance before each camera: taken away from a vector, it takes away the light and colour
    of the camera and of the site, which make strangers alike.
    """

    number: int  # 0: nothing is known yet
    cameras: tuple[str, ...]
    offsets: F32  # (A + 1, D)
    strangers_mean: F64  # (A + 1, A + 1) similarity of different people before two cameras
    strangers_deviation: F64  # (A + 1, A + 1)
    transit: TransitTimes
    least_probability: float  # of a join
    curve: LookCurve = field(default_factory=LookCurve)
    met: F64 = field(default_factory=lambda: np.zeros(0))  # log-odds by looks of people who certainly are two, ascending

    def believed(self, looks: F64) -> F64:
        """Log-odds by looks, as far as people who certainly are two let them be believed."""
        above = len(self.met) - np.searchsorted(self.met, looks)
        return np.minimum(looks, np.log(max(len(self.met), 1) / np.maximum(above - 2.0, 1e-9)))

    @classmethod
    def first(cls, dimension: int, prior: StrangerPrior, least_probability: float, curve: LookCurve) -> Calibration:
        """Before anything was seen."""
        return cls(
            number=0,
            cameras=(),
            offsets=np.zeros((1, dimension), np.float32),
            strangers_mean=np.full((1, 1), prior.mean),
            strangers_deviation=np.full((1, 1), prior.deviation),
            transit=TransitTimes.unknown(),
            least_probability=least_probability,
            curve=curve,
        )

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.cameras)}

    def place(self, camera_id: str) -> int:
        """Of a camera; the last one for a camera not known yet."""
        return self._places.get(camera_id, len(self.cameras))

    def looks(self, vectors: F32, places: I64) -> F32:
        """(N, D) unit vectors without what their cameras add to everybody."""
        centred = vectors - self.offsets[places]
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        found: F32 = centred / np.maximum(length, np.float32(1e-6))
        return found


@dataclass(frozen=True, slots=True)
class StrangerPrior:
    """How alike different people are for a model before a site has taught better, and how much that varies."""

    mean: float = 0.1
    deviation: float = 0.1


def learnt(
    before: Calibration,
    cameras: Sequence[str],
    vectors: F32,
    places: I64,
    people: I64,
    transit: TransitTimes,
    least_probability: float,
) -> Calibration:
    """The next calibration, from exemplars: raw vectors (N, D), place of the camera in `cameras`, person.

    Different identities count as different people. A person with two identities makes strangers seem more alike, which
    errs on the careful side.
    """
    count = len(cameras)
    site = vectors.mean(axis=0)
    held = np.bincount(places, minlength=count + 1)[:, None]
    sums = np.zeros((count + 1, vectors.shape[1]), np.float64)
    np.add.at(sums, places, vectors)
    offsets = ((sums + _OFFSET_WEIGHT * site) / (held + _OFFSET_WEIGHT)).astype(np.float32)
    moved = Calibration(
        number=before.number + 1,
        cameras=tuple(cameras),
        offsets=offsets,
        strangers_mean=np.zeros((count + 1, count + 1)),
        strangers_deviation=np.ones((count + 1, count + 1)),
        transit=transit,
        least_probability=least_probability,
        curve=before.curve,
    )
    step = -(-len(vectors) // _SAMPLE)
    sample = slice(None, None, step)
    looks, places, people = moved.looks(vectors[sample], places[sample]), places[sample], people[sample]
    similarities = (looks @ looks.T).astype(np.float64)
    is_stranger = people[:, None] != people
    mean, deviation = _by_pair(similarities, is_stranger, places, count + 1)
    moved.strangers_mean[:] = mean
    moved.strangers_deviation[:] = deviation
    return moved


def _by_pair(similarities: F64, counts: np.ndarray[tuple[int, int], np.dtype[np.bool_]], places: I64, size: int) -> tuple[F64, F64]:  # fmt: skip
    """Mean and deviation of the similarities that count, for each two cameras, drawn towards those of all."""
    member = np.zeros((len(places), size))
    member[np.arange(len(places)), places] = 1.0
    number = member.T @ counts @ member
    first = member.T @ (similarities * counts) @ member
    second = member.T @ (similarities**2 * counts) @ member
    total = max(number.sum(), 1.0)
    site_mean = first.sum() / total
    site_square = second.sum() / total
    mean = (first + _PAIR_WEIGHT * site_mean) / (number + _PAIR_WEIGHT)
    square = (second + _PAIR_WEIGHT * site_square) / (number + _PAIR_WEIGHT)
    return mean, np.sqrt(np.maximum(square - mean**2, _LEAST_DEVIATION**2))

"""What a site has taught about its own cameras: how they colour what they see, how alike strangers look, how people
walk.

A calibration is made from what the matcher remembers, gets a number, and stays as it is until the next one; so every
decision can name the calibration that it was made with, and a restarted matcher decides as the undisturbed one would.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.contracts import F32, F64, I64
from pipeline.look_scores import ORDINARY, ordinary_strangers
from pipeline.matching.looks import LookPrior, even_score, look_odds
from pipeline.matching.transit import TransitTimes

_OFFSET_WEIGHT = 20.0  # exemplars that a camera needs before its own mean counts as much as the site's
_PAIR_WEIGHT = 300.0  # pairs of strangers that two cameras need, likewise; and the site against the model's validation
_LEAST_DEVIATION = 0.02
_ROUNDING = 1e-6  # more than sums and quotients are off
SAMPLE = 2048  # exemplars that are compared with one another


@dataclass(frozen=True, eq=False)
class Calibration:
    """Cameras are places 0 to A-1 in `cameras`; place A is any camera not known yet.

    `offsets` is the mean appearance before each camera: taken away from a vector, it takes away the light and colour
    of the camera and of the site, which make strangers alike.
    """

    number: int  # 0: nothing is known yet
    tracklets: int  # of which it was learnt
    cameras: tuple[str, ...]
    offsets: F32  # (A + 1, D)
    strangers_mean: F64  # (A + 1, A + 1) similarity of different people before two cameras
    strangers_deviation: F64  # (A + 1, A + 1)
    transit: TransitTimes
    curves: F64  # see `LookPrior`
    clocks_s: F64  # (A + 1,) how much each camera's clock is fast; 0 for a camera not known yet
    least_probability: float = 0.0  # of a join; 0: nothing is known yet

    @classmethod
    def first(cls, dimension: int, prior: LookPrior) -> Calibration:
        """Before anything was seen."""
        return cls(
            number=0,
            tracklets=0,
            cameras=(),
            offsets=np.zeros((1, dimension), np.float32),
            strangers_mean=np.full((1, 1), prior.mean),
            strangers_deviation=np.full((1, 1), prior.deviation),
            transit=TransitTimes.unknown(),
            curves=prior.curves,
            clocks_s=np.zeros(1),
        )

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.cameras)}

    def place(self, camera_id: str) -> int:
        """Of a camera; the last one for a camera not known yet."""
        return self._places.get(camera_id, len(self.cameras))

    def clock_s(self, camera_id: str) -> float:
        """How much the camera's clock is fast."""
        return float(self.clocks_s[self.place(camera_id)])

    def told_clocks(self) -> str:
        """Whose clocks are wrong, for people."""
        wrong = [(name, self.clock_s(name)) for name in self.cameras if self.clock_s(name)]
        told = [f"{name} {abs(fast_s):.0f} s {'fast' if fast_s > 0 else 'slow'}" for name, fast_s in wrong]
        return ", ".join(told) or "none any more"

    def looks(self, vectors: F32, places: I64) -> F32:
        """(N, D) unit vectors without what their cameras add to everybody."""
        centred: F32 = self.offsets[places]
        np.subtract(vectors, centred, out=centred)  # in place: one array less in the cache
        length = np.sqrt(np.einsum("nd,nd->n", centred, centred))
        centred /= np.maximum(length, np.float32(1e-6))[:, None]
        return centred

    def scores(self, similarities: F64, one: I64, other: I64) -> F64:
        """(N, M) similarities of tracklets at places (N,) and (M,) as scores; see `look_scores`."""
        pairs = one[:, None], other[None, :]
        found: F64 = (similarities - self.strangers_mean[pairs]) / self.strangers_deviation[pairs]
        return found

    def strangers(self, exemplars: I64) -> tuple[F64, F64]:
        """(C, A + 1) mean and deviation of the similarities that strangers before each camera have to identities with
        so many exemplars (C, A + 1) of each."""
        held = exemplars / np.maximum(exemplars.sum(axis=1), 1)[:, None]
        return held @ self.strangers_mean, held @ self.strangers_deviation

    def look_odds(self, similarities: F64, exemplars: I64, place: int | I64, others: float | F64 = 1.0) -> F64:
        """(C,) log-odds of one person, from similarities (C,) that are means over pairs.

        The one side are `exemplars` (C, A + 1) of each camera, the other so many tracklets of the camera at `place`;
        place and number are one for all, or (C,).
        """
        means, deviations = self.strangers(exemplars)
        rows = np.arange(len(exemplars))
        scores = (similarities - means[rows, place]) / deviations[rows, place]
        return look_odds(self.curves, scores, np.maximum(exemplars.sum(axis=1), 1) * others)

    @cached_property
    def least_alike(self) -> float:
        """Whoever has less similarity is rather two than one, whatever the cameras and however many exemplars."""
        score, deviation = even_score(self.curves), self.strangers_deviation
        lowest = self.strangers_mean.min() + min(score * deviation.min(), score * deviation.max())
        return float(lowest) - _ROUNDING

    def packed(self) -> bytes:
        """All of it, to the last bit."""
        plain = {
            "number": self.number,
            "tracklets": self.tracklets,
            "cameras": self.cameras,
            "span_s": self.transit.span_s,
            "least_probability": self.least_probability,
        }
        content = io.BytesIO()
        np.savez_compressed(
            content,
            plain=np.frombuffer(json.dumps(plain).encode(), np.uint8),
            curves=self.curves,
            clocks_s=self.clocks_s,
            offsets=self.offsets,
            strangers_mean=self.strangers_mean,
            strangers_deviation=self.strangers_deviation,
            gaps=self.transit.gaps,
            tracks=self.transit.tracks,
            strangers=self.transit.strangers,
        )
        return content.getvalue()

    @classmethod
    def unpacked(cls, content: bytes) -> Calibration:
        """What `packed` returned."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            plain = json.loads(arrays["plain"].tobytes())
            return cls(
                number=plain["number"],
                tracklets=plain["tracklets"],
                cameras=tuple(plain["cameras"]),
                offsets=arrays["offsets"],
                strangers_mean=arrays["strangers_mean"],
                strangers_deviation=arrays["strangers_deviation"],
                transit=TransitTimes(arrays["gaps"], arrays["tracks"], arrays["strangers"], plain["span_s"]),
                curves=arrays["curves"],
                clocks_s=arrays["clocks_s"] if "clocks_s" in arrays else np.zeros(len(plain["cameras"]) + 1),
                least_probability=plain["least_probability"],
            )


def learnt(
    before: Calibration,
    tracklets: int,
    cameras: Sequence[str],
    sums: F64,
    held: I64,
    vectors: F32,
    places: I64,
    people: I64,
    transit: TransitTimes,
    prior: LookPrior,
    clocks_s: F64,
    least_probability: float,
) -> Calibration:
    """The calibration that follows `before`, from exemplars: the sums of their vectors (A + 1, D) and their number for
    each camera, and of some of them the raw vectors (N, D), their cameras' places, and persons.

    Different identities count as different people, unless they are far more alike than strangers are (see
    `ordinary_strangers`).
    """
    count = len(cameras)
    mean = sums.sum(axis=0) / held.sum()
    offsets = (sums + _OFFSET_WEIGHT * mean) / (held[:, None] + _OFFSET_WEIGHT)
    nobody = np.zeros((count + 1, count + 1))
    blank = Calibration(
        number=before.number + 1,
        tracklets=tracklets,
        cameras=tuple(cameras),
        offsets=offsets.astype(np.float32),
        strangers_mean=nobody,
        strangers_deviation=nobody,
        transit=transit,
        curves=prior.curves,
        clocks_s=clocks_s,
        least_probability=least_probability,
    )
    looks = blank.looks(vectors, places)
    similarities = (looks @ looks.T).astype(np.float64)
    is_stranger = people[:, None] != people
    if is_stranger.any():
        centre, spread = ordinary_strangers(similarities[is_stranger])
        is_stranger &= similarities <= centre + ORDINARY * spread
    mean, deviation = _by_pair(similarities, is_stranger, places, count + 1, prior)
    return replace(blank, strangers_mean=mean, strangers_deviation=deviation)


def _by_pair(
    similarities: F64, counts: npt.NDArray[np.bool_], places: I64, size: int, prior: LookPrior
) -> tuple[F64, F64]:
    """Mean and deviation of the similarities that count, for each two cameras: drawn towards those of the site, and
    these towards the model's."""
    member = np.zeros((len(places), size))
    member[np.arange(len(places)), places] = 1.0
    number = member.T @ counts @ member
    first = member.T @ (similarities * counts) @ member
    second = member.T @ (similarities**2 * counts) @ member
    total = number.sum() + _PAIR_WEIGHT
    site_mean = (first.sum() + _PAIR_WEIGHT * prior.mean) / total
    site_square = (second.sum() + _PAIR_WEIGHT * (prior.mean**2 + prior.deviation**2)) / total
    mean = (first + _PAIR_WEIGHT * site_mean) / (number + _PAIR_WEIGHT)
    square = (second + _PAIR_WEIGHT * site_square) / (number + _PAIR_WEIGHT)
    return mean, np.sqrt(np.maximum(square - mean**2, _LEAST_DEVIATION**2))

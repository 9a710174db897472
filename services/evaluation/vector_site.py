"""A site for the matcher alone: people walk past cameras for days, and each tracklet is a vector at once.

Nothing is rendered, so that 20,000 people in thirty days take minutes. Days pass one after the other, and only one of
them is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from pipeline.contracts import F32, F64, I64, TrackletEmbedding, pack_vector
from services.evaluation.identity_answers import TrueTracklet
from services.evaluation.vector_looks import LookModel

DAY_S = 86_400.0
DIGEST = "simulated-looks"
_OPENS_S = 8 * 3600.0
_FPS = 5.0
_WITH_COMPANIONS = (2, 3, 4)
_APART_S = 1.5  # at most, before and behind the middle of a group
_BREAK_S = 1.0  # unseen between two halves of a broken track


@dataclass(frozen=True, slots=True)
class Outage:
    """A camera (from 0) that saw nobody for a while; seconds since the first midnight."""

    camera: int
    since_s: float
    until_s: float


@dataclass(frozen=True, slots=True)
class VectorSite:
    """What kind of site it is. Shares are from 0 to 1."""

    cameras: int = 4
    people: int = 200  # who come for the first time, evenly over the days
    days: int = 1
    open_s: float = 3600.0  # of each day, from eight o'clock
    looks: LookModel = field(default_factory=LookModel)
    cameras_passed: float = 4.0  # on one walk, on average; at least two
    stay_s: float = 9.0  # before one camera: the median of a log-normal distribution, as is the next
    transit_s: float = 45.0  # between two cameras; each pair has a median of its own around it
    overlapping: int = 0  # pairs of cameras that see the same place
    group_share: float = 0.2  # of the people walk in groups of two to four
    rush_share: float = 0.2  # of the walks begin within the same twentieth of the day
    second_walk_share: float = 0.2  # walk again later that day
    returning_share: float = 0.0  # more visitors each day who were there on a day before, for each new one
    changed_clothes_share: float = 0.5  # of those
    miss_share: float = 0.05  # of sightings that the detector misses
    break_share: float = 0.08  # of sightings in which the tracker loses the person and begins anew
    cut_every_s: float = 4.0
    clock_skew_s: float = 0.0  # clocks of the cameras are spread evenly between this much slow and fast
    outages: tuple[Outage, ...] = ()


@dataclass(frozen=True, slots=True)
class _Sighting:
    person: int
    camera: int
    started_at: float  # by the one true clock
    ended_at: float


@dataclass(frozen=True, slots=True)
class _Piece:
    sighting: int
    camera: int
    person: int
    track_id: int
    sequence: int
    started_at: float
    ended_at: float


class SimulatedPeople:
    """One run of a site: iterate once. `walked_s` are the true medians between cameras, NaN where there is no way."""

    def __init__(self, site: VectorSite, rng: np.random.Generator) -> None:
        self._site, self._rng = site, rng
        self._ways = _connected(site, rng)
        self._bodies = site.looks.draw(rng, site.people)
        self._wardrobe = site.looks.draw(rng, site.looks.outfits)
        self._clothes = site.looks.dress(rng, self._wardrobe, site.people)
        self._casts = site.looks.draw(rng, site.cameras)
        self._slow_s = rng.permutation(np.linspace(-1.0, 1.0, site.cameras)) * site.clock_skew_s
        self._tracks = np.zeros(site.cameras, np.int64)
        self._known = 0  # people who have been there

    @property
    def walked_s(self) -> F64:
        return self._ways.copy()

    def __iter__(self) -> Iterator[TrueTracklet]:
        """Tracklets in the order of arrival: when their last picture was taken, by the one true clock."""
        for day in range(self._site.days):
            pieces = self._pieces(self._seen(self._sightings(day)))
            if pieces:
                yield from self._tracklets(sorted(pieces, key=lambda piece: piece.ended_at))

    def _visitors(self, day: int) -> I64:
        """New people of the day and some who were there before, in random order. Some have changed their clothes."""
        site, rng = self._site, self._rng
        until = site.people * (day + 1) // site.days
        returning = min(self._known, round(site.returning_share * (until - self._known)))
        old = rng.choice(self._known, returning, replace=False) if returning else np.zeros(0, np.int64)
        changed = old[rng.random(returning) < site.changed_clothes_share]
        self._clothes[changed] = site.looks.dress(rng, self._wardrobe, len(changed))
        visitors: I64 = rng.permutation(np.concatenate([old, np.arange(self._known, until)]))
        self._known = until
        return visitors

    def _sightings(self, day: int) -> list[_Sighting]:
        site, rng = self._site, self._rng
        opens_at = day * DAY_S + _OPENS_S
        rush_at = opens_at + rng.uniform(0.1, 0.4) * site.open_s
        found: list[_Sighting] = []
        for party in _parties(self._visitors(day), site.group_share, rng):
            is_rushed = rng.random() < site.rush_share
            starts_at = (
                rush_at + rng.uniform(0, 0.05 * site.open_s)
                if is_rushed
                else (opens_at + rng.uniform(0, 0.5 * site.open_s))
            )
            walk = self._walk(party, starts_at)
            found += walk
            if rng.random() < site.second_walk_share:
                home_at = max(seen.ended_at for seen in walk) + 60.0
                found += self._walk(party, max(home_at, opens_at + rng.uniform(0.5, 1.0) * site.open_s))
        return found

    def _walk(self, party: I64, starts_at: float) -> list[_Sighting]:
        """A party's way past the cameras, side by side."""
        site, rng = self._site, self._rng
        speed = rng.lognormal(0.0, 0.15)
        camera, at = int(rng.integers(site.cameras)), starts_at
        found: list[_Sighting] = []
        free_at = np.full(site.cameras, -np.inf)  # when the party, all of it, is out of the picture again
        for _ in range(2 + rng.poisson(max(0.0, site.cameras_passed - 2))):
            stay_s = site.stay_s / speed * rng.lognormal(0.0, 0.4)
            at = max(at, float(free_at[camera]))
            free_at[camera] = at + stay_s + 3 * _APART_S
            for person, ahead_s in zip(party.tolist(), rng.uniform(-_APART_S, _APART_S, len(party)), strict=True):
                found.append(_Sighting(person, camera, at + ahead_s, at + ahead_s + stay_s))
            following = int(rng.choice(np.flatnonzero(np.isfinite(self._ways[camera]))))
            way_s = float(self._ways[camera, following])
            at += stay_s + (way_s / speed * rng.lognormal(0.0, 0.2) if way_s > 0 else -rng.uniform(0.2, 0.8) * stay_s)
            camera = following
        return found

    def _seen(self, sightings: Sequence[_Sighting]) -> list[_Sighting]:
        """What the detector does not miss, while the camera is there."""
        is_missed = self._rng.random(len(sightings)) < self._site.miss_share
        return [
            seen
            for seen, missed in zip(sightings, is_missed, strict=True)
            if not missed and not any(_hides(outage, seen) for outage in self._site.outages)
        ]

    def _pieces(self, sightings: Sequence[_Sighting]) -> list[_Piece]:
        """Sightings as tracks, and tracks as tracklets."""
        site, rng = self._site, self._rng
        pieces = []
        for number, seen in enumerate(sightings):
            tracks = [seen]
            if rng.random() < site.break_share and seen.ended_at - seen.started_at > 4 * _BREAK_S:
                lost_at = rng.uniform(seen.started_at + _BREAK_S, seen.ended_at - 2 * _BREAK_S)
                tracks = [replace(seen, ended_at=lost_at), replace(seen, started_at=lost_at + _BREAK_S)]
            for track in tracks:
                track_id = int(self._tracks[seen.camera])
                self._tracks[seen.camera] += 1
                cuts = [*np.arange(track.started_at, track.ended_at, site.cut_every_s).tolist(), track.ended_at]
                for sequence, (start, end) in enumerate(pairwise(cuts)):
                    pieces.append(_Piece(number, seen.camera, seen.person, track_id, sequence, start, end))
        return pieces

    def _tracklets(self, pieces: Sequence[_Piece]) -> Iterator[TrueTracklet]:
        persons, cameras, sightings = (
            np.array(column, np.int64)
            for column in zip(*((piece.person, piece.camera, piece.sighting) for piece in pieces), strict=True)
        )
        looks = self._site.looks.looks(self._bodies[persons], self._clothes[persons])
        vectors = self._site.looks.vectors(self._rng, looks, self._casts[cameras], sightings, _company(pieces, cameras))
        for piece, vector in zip(pieces, vectors, strict=True):
            yield TrueTracklet(self._embedding(piece, vector), piece.person, piece.ended_at)

    def _embedding(self, piece: _Piece, vector: F32) -> TrackletEmbedding:
        packed, slow_s = pack_vector(vector), float(self._slow_s[piece.camera])
        return TrackletEmbedding(
            camera_id=f"c{piece.camera + 1}",
            boot_id="b1",
            track_id=piece.track_id,
            sequence=piece.sequence,
            started_at=piece.started_at + slow_s,
            ended_at=piece.ended_at + slow_s,
            detections=1 + int((piece.ended_at - piece.started_at) * _FPS),
            model_digest=DIGEST,
            appearance=packed,
            language=packed,
            quality=0.8,
            crop_keys=("0" * 40,),
        )


def _connected(site: VectorSite, rng: np.random.Generator) -> F64:
    """(C, C) median seconds from camera to camera, NaN where no way leads, 0 where both see the same place.

    A ring, and as many ways across as there are cameras; as long in both directions.
    """
    ways = np.full((site.cameras, site.cameras), np.nan)
    ring = [(camera, (camera + 1) % site.cameras) for camera in range(site.cameras)]
    across = rng.integers(site.cameras, size=(site.cameras, 2)).tolist()
    for number, (one, other) in enumerate([*ring, *across]):
        if number < site.overlapping:
            ways[one, other] = ways[other, one] = 0.0
        elif np.isnan(ways[one, other]):
            ways[one, other] = ways[other, one] = site.transit_s * rng.lognormal(0.0, 0.5)
    return ways


def _parties(visitors: I64, group_share: float, rng: np.random.Generator) -> Iterator[I64]:
    """Groups and single walkers, so that about `group_share` of the people are in a group."""
    mean = float(np.mean(_WITH_COMPANIONS))
    is_group = group_share / (mean - group_share * (mean - 1))  # of the parties
    start = 0
    while start < len(visitors):
        size = int(rng.choice(_WITH_COMPANIONS)) if rng.random() < is_group else 1
        yield visitors[start : start + size]
        start += size


def _hides(outage: Outage, seen: _Sighting) -> bool:
    return outage.camera == seen.camera and outage.since_s < seen.ended_at and seen.started_at < outage.until_s


def _company(pieces: Sequence[_Piece], cameras: I64) -> I64:
    """(N,) how many others were before the same camera during each piece."""
    starts, ends = (np.array(column) for column in zip(*((p.started_at, p.ended_at) for p in pieces), strict=True))
    others = np.zeros(len(pieces), np.int64)
    for camera in np.unique(cameras):
        here = cameras == camera
        begun = np.searchsorted(np.sort(starts[here]), ends[here], side="right")
        gone = np.searchsorted(np.sort(ends[here]), starts[here], side="left")
        others[here] = begun - gone - 1
    return others

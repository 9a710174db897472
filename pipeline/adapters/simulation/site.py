"""The site as a function of time: who walks where. Any process that knows the seed computes the same moment alone.

Each person lives in cycles of `CYCLE_S`: a route through some cameras, then away. Route n of a person is drawn from
(seed, person, n), so the site runs for ever and any moment can be computed without its past.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from pipeline.adapters.simulation.drawing import Projected, fabric, lay_over, project_figure
from pipeline.adapters.simulation.figure import gait_phase, pose
from pipeline.adapters.simulation.people import Person, population
from pipeline.adapters.simulation.view import NEAREST_M, View, draw_view, noise_tile, paint_background
from pipeline.contracts import F64, Image
from pipeline.errors import ConfigurationError

CYCLE_S = 96.0
MAX_CAMERAS = 8
_UNSEEN_M = (5.0, 14.0)  # length of the ways between cameras
_AWAY_S = 19.0  # at the end of a cycle: enough for the longest of these ways, whatever camera comes next
_BENDS = 24  # straight pieces of one walk


@dataclass(frozen=True, slots=True)
class Visit:
    """One walk of one person through one camera. `path` is (K, 2) metres on the camera's ground, walked evenly."""

    person_id: int
    camera: int
    started_s: float
    ended_s: float
    path: F64
    lengths: F64  # (K,) metres walked at each point

    def at(self, time_s: float) -> tuple[tuple[float, float], float, float]:
        """Position, heading in radians and metres walked at a time within the visit."""
        walked = self.lengths[-1] * (time_s - self.started_s) / (self.ended_s - self.started_s)
        piece = int(np.clip(np.searchsorted(self.lengths, walked) - 1, 0, len(self.path) - 2))
        share = (walked - self.lengths[piece]) / (self.lengths[piece + 1] - self.lengths[piece])
        step = self.path[piece + 1] - self.path[piece]
        place = self.path[piece] + share * step
        return (float(place[0]), float(place[1])), math.atan2(step[1], step[0]), float(walked)


@dataclass(frozen=True, slots=True)
class Appearance:
    """A person in the picture of a camera at a moment."""

    person: Person
    figure: Projected
    heading: float  # radians from the camera's x axis: pi/2 walks away, -pi/2 comes nearer


class SimulatedSite:
    """`people` inhabitants and `cameras` views. Times are seconds of the site's own clock, from 0."""

    def __init__(self, seed: int, cameras: int = 4, people: int = 12, size_px: tuple[int, int] = (640, 360)) -> None:
        if not 1 <= cameras <= MAX_CAMERAS:
            raise ConfigurationError(f"cameras={cameras} of a simulated site; expected 1 to {MAX_CAMERAS}")
        if people < 1 or seed < 0:
            raise ConfigurationError(
                f"seed={seed}, people={people} of a simulated site; expected seed >= 0, people >= 1"
            )
        self.seed = seed
        self.people = population(seed, people)
        self.views = tuple(draw_view(np.random.default_rng([seed, 2, n]), *size_px) for n in range(cameras))
        self._itinerary = lru_cache(maxsize=8 * people)(self._draw_itinerary)
        self._scene = lru_cache(maxsize=cameras)(self._paint)

    def person(self, person_id: int) -> Person:
        return self.people[person_id - 1]

    def visits(self, since_s: float, until_s: float) -> list[Visit]:
        """Every walk that overlaps the interval, by person and time."""
        found = []
        for person in self.people:
            offset = self._offset_s(person.person_id)
            first, last = (math.floor((t - offset) / CYCLE_S) for t in (since_s, until_s))
            walks = (visit for cycle in range(first, last + 1) for visit in self._itinerary(person.person_id, cycle))
            found += [visit for visit in walks if visit.started_s < until_s and visit.ended_s > since_s]
        return found

    def appearances(self, camera: int, time_s: float) -> list[Appearance]:
        """Who is before the camera, from far to near, also those whose box lies outside the picture."""
        view = self.views[camera]
        seen = []
        for visit in self.visits(time_s, time_s):
            if visit.camera != camera:
                continue
            position, heading, walked = visit.at(time_s)
            if position[1] < NEAREST_M:
                continue
            person = self.person(visit.person_id)
            figure = project_figure(pose(person, gait_phase(person, walked)), position, heading, view)
            seen.append(Appearance(person, figure, heading))
        return sorted(seen, key=lambda appearance: -appearance.figure.depth_m)

    def render(self, camera: int, time_s: float) -> Image:
        """The picture of one camera at one moment, RGB."""
        view = self.views[camera]
        background, (brighter, darker), fabrics = self._scene(camera)
        frame = background.copy()
        for appearance in self.appearances(camera, time_s):
            lay_over(frame, appearance.figure, view, fabrics[appearance.person.person_id % len(fabrics)])
        # Milliseconds name the moment: the same noise in every process, another one in the next frame.
        down, right = np.random.default_rng([self.seed, 3, camera, round(time_s * 1000) % 2**63]).integers(0, 64, 2)
        window = np.s_[down : down + view.height_px, right : right + view.width_px]
        cv2.add(frame, brighter[window], dst=frame)
        cv2.subtract(frame, darker[window], dst=frame)
        return frame

    def background(self, camera: int) -> Image:
        """The empty scene without noise."""
        return self._scene(camera)[0].copy()

    def _paint(self, camera: int) -> tuple[Image, tuple[Image, Image], list[Image]]:
        rng = np.random.default_rng([self.seed, 4, camera])
        view = self.views[camera]
        return paint_background(view, rng), noise_tile(view, rng), [fabric(rng) for _ in range(16)]

    def _offset_s(self, person_id: int) -> float:
        """When the cycles of a person begin: spread evenly, so that there are never all at once."""
        return CYCLE_S * ((person_id * 0.6180339887) % 1.0)

    def _draw_itinerary(self, person_id: int, cycle: int) -> tuple[Visit, ...]:
        rng = np.random.default_rng([self.seed, 5, person_id, cycle % 2**63])
        person = self.person(person_id)
        begins_s = self._offset_s(person_id) + cycle * CYCLE_S
        ends_s = begins_s + CYCLE_S - _AWAY_S
        time_s = begins_s + rng.uniform(0, 4)
        camera = int(rng.integers(len(self.views)))
        visits: list[Visit] = []
        while True:
            path = _draw_path(self.views[camera], rng)
            lengths = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))))
            leaves_s = time_s + float(lengths[-1]) / person.speed_m_s
            if leaves_s > ends_s:
                return tuple(visits)
            visits.append(Visit(person_id, camera, time_s, leaves_s, path, lengths))
            following = _next_camera(camera, len(self.views), rng)
            time_s = leaves_s + self.walk_m(camera, following) / person.speed_m_s * rng.uniform(0.95, 1.1)
            camera = following

    def walk_m(self, origin: int, destination: int) -> float:
        """Metres of unseen way between two cameras (to the same one: around the block); the same in both directions."""
        low, high = sorted((origin, destination))
        return float(np.random.default_rng([self.seed, 6, low, high]).uniform(*_UNSEEN_M))


def _next_camera(camera: int, cameras: int, rng: np.random.Generator) -> int:
    """Mostly a neighbour on the ring of cameras, seldom the same one again."""
    if cameras == 1 or rng.random() < 0.08:
        return camera
    return (camera + int(rng.choice((-1, 1)))) % cameras


def _draw_path(view: View, rng: np.random.Generator) -> F64:
    """A bent walk from one border of the view to another: left, right, or past below the camera."""

    def border(side: str) -> F64:
        y = rng.uniform(7.5, min(13.0, view.wall_m - 2.0))
        if side == "near":
            return np.array((rng.uniform(-1.2, 1.2), NEAREST_M))
        beyond = (view.width_px / 2 / view.focal_px) * (
            y * math.cos(view.tilt) + view.pole_m * math.sin(view.tilt)
        ) + 0.6
        return np.array((-beyond if side == "left" else beyond, y))

    entry, leave = rng.permutation(("left", "right", "near"))[:2]
    begin, end = border(entry), border(leave)
    bend = np.array((rng.uniform(-2.2, 2.2), rng.uniform(7.5, min(13.5, view.wall_m - 2.0))))
    s = np.linspace(0, 1, _BENDS + 1)[:, None]
    path: F64 = (1 - s) ** 2 * begin + 2 * s * (1 - s) * bend + s**2 * end
    return path

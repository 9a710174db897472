"""A person's route as pages draw it: lanes of a timeline, the ways between cameras, pictures of every side. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.contracts import BlobKey
from pipeline.kept import Sighting
from pipeline.search.people import Person

LANE_WIDTH = 1000  # of a lane, in its own units
_LEAST_BAR = 10  # a glance is still to be seen on a day
MOST_DRAWN = 8  # cameras on one map

_NODE_WIDTH, _NODE_HEIGHT, _PITCH = 152, 48, 104
_LINE_BESIDE, _LABEL_BESIDE = 20, 10
_BULGE, _BULGE_STEP = 66, 60
_LABEL_ROOM = 92  # beside a way


@dataclass(frozen=True, slots=True)
class Bar:
    """One stay on a lane, in units of `LANE_WIDTH`."""

    x: float
    width: float
    stay: Sighting


@dataclass(frozen=True, slots=True)
class Lane:
    """The stays at one camera."""

    camera_id: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Portrait:
    """The crop that stands for a person at a camera, and the stay that it is of."""

    key: BlobKey
    stay: Sighting


@dataclass(frozen=True, slots=True)
class Node:
    """A camera on the map; `x` and `y` are its middle."""

    camera_id: str
    order: int  # from 1, by when the person first came
    stays: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way that was walked, with how long it took each time. `anchor` is that of the words beside it."""

    start: str
    end: str
    transits_s: tuple[float, ...]
    path: str
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class CameraMap:
    """Cameras in the order in which a person came to them, from top to bottom; ways down on the right, up on the left.

    It is schematic: where cameras hang is not known. `left` is where the drawing begins, the middle of the cameras
    being 0; `others` are cameras that it leaves out.
    """

    left: float
    width: float
    height: float
    node_width: float
    node_height: float
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]
    others: int


def lanes(route: Sequence[Sighting]) -> list[Lane]:
    """When somebody was where, one lane for each camera in the order of the first stays."""
    began, ended = route[0].started_at, max(stay.ended_at for stay in route)
    scale = LANE_WIDTH / max(ended - began, 1e-9)
    by_camera: dict[str, list[Bar]] = {}
    for stay in route:
        width = max((stay.ended_at - stay.started_at) * scale, _LEAST_BAR)
        x = min((stay.started_at - began) * scale, LANE_WIDTH - _LEAST_BAR)
        bar = Bar(round(x, 1), round(min(width, LANE_WIDTH - x), 1), stay)
        by_camera.setdefault(stay.camera_id, []).append(bar)
    return [Lane(camera, tuple(bars)) for camera, bars in by_camera.items()]


def gaps_s(route: Sequence[Sighting]) -> list[float]:
    """For each stay but the first, the seconds since the one before it ended; below 0 where they overlap."""
    return [later.started_at - earlier.ended_at for earlier, later in pairwise(route)]


def portraits(person: Person, most: int) -> list[Portrait]:
    """At most `most` pictures: the best one of each camera, those that speak for the answer first, then others."""
    stay_of = {key: stay for stay in reversed(person.route) for key in stay.crop_keys}
    by_merit = [Portrait(key, stay_of[key]) for key in person.crop_keys if key in stay_of]
    unseen = [Portrait(stay.crop_keys[0], stay) for stay in person.route if stay.crop_keys]
    firsts: dict[str, Portrait] = {}
    for portrait in (*by_merit, *unseen):
        firsts.setdefault(portrait.stay.camera_id, portrait)
    chosen = {portrait.key: portrait for portrait in (*firsts.values(), *by_merit)}
    return list(chosen.values())[:most]


def camera_map(route: Sequence[Sighting]) -> CameraMap:
    """The cameras of a route and the ways between them."""
    stays: dict[str, int] = defaultdict(int)
    for stay in route:
        stays[stay.camera_id] += 1
    nodes = tuple(
        Node(camera, number + 1, stays[camera], 0.0, number * _PITCH + _NODE_HEIGHT / 2 + 2)
        for number, camera in enumerate(list(stays)[:MOST_DRAWN])
    )
    place = {node.camera_id: node for node in nodes}
    transits: dict[tuple[Node, Node], list[float]] = defaultdict(list)
    for (earlier, later), gap_s in zip(pairwise(route), gaps_s(route), strict=True):
        if earlier.camera_id != later.camera_id and earlier.camera_id in place and later.camera_id in place:
            transits[place[earlier.camera_id], place[later.camera_id]].append(gap_s)
    arrows = tuple(_arrow(start, end, tuple(gaps)) for (start, end), gaps in transits.items())
    right = max((arrow.label_x + _LABEL_ROOM for arrow in arrows if arrow.anchor == "start"), default=0.0)
    left = min((arrow.label_x - _LABEL_ROOM for arrow in arrows if arrow.anchor == "end"), default=0.0)
    edge = _NODE_WIDTH / 2 + 2
    left, right = min(left, -edge), max(right, edge)
    height = (len(nodes) - 1) * _PITCH + _NODE_HEIGHT + 4
    return CameraMap(left, right - left, height, _NODE_WIDTH, _NODE_HEIGHT, nodes, arrows, len(stays) - len(nodes))


def _arrow(start: Node, end: Node, transits_s: tuple[float, ...]) -> Arrow:
    """Neighbours are joined by a straight line, others by a bow around those between them."""
    side, apart = (1, end.order - start.order) if end.order > start.order else (-1, start.order - end.order)
    anchor, middle = ("start" if side > 0 else "end"), (start.y + end.y) / 2
    if apart == 1:
        x = side * _LINE_BESIDE
        begin, stop = start.y + side * _NODE_HEIGHT / 2, end.y - side * _NODE_HEIGHT / 2
        path = f"M {x} {begin:g} V {stop - side * 3:g}"
        return Arrow(start.camera_id, end.camera_id, transits_s, path, x + side * _LABEL_BESIDE, middle, anchor)
    edge, bulge = side * _NODE_WIDTH / 2, _BULGE + _BULGE_STEP * (apart - 2)
    far = edge + side * bulge
    path = f"M {edge:g} {start.y:g} C {far:g} {start.y:g} {far:g} {end.y:g} {edge + side * 3:g} {end.y:g}"
    label_x = edge + side * (0.75 * bulge + _LABEL_BESIDE)
    return Arrow(start.camera_id, end.camera_id, transits_s, path, label_x, middle, anchor)

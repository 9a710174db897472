"""The body of a walking person as solids, in metres: each solid is the convex hull of a few balls.

Body frame: x to the person's right, y forward, z up, the origin on the ground between the feet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.adapters.simulation.people import Carried, Colour, Lower, Person, Upper
from pipeline.contracts import F64

_AVERAGE_M = 1.75
_STRIDE_M = 1.45  # two steps of a person of average height
_BRIGHT: Colour = (232, 230, 224)
_DARK: Colour = (34, 26, 24)

Ball = tuple[float, float, float, float]  # x, y, z, radius


@dataclass(frozen=True, slots=True)
class Solid:
    """A convex piece of the body. `lift_m` is how much nearer to the viewer it counts when solids are sorted."""

    balls: tuple[Ball, ...]
    colour: Colour
    lift_m: float = 0.0


@dataclass(frozen=True, slots=True)
class Figure:
    """All solids of one posture as columns: balls (N, 4), and for each solid its slice, colour and lift."""

    balls: F64
    starts: tuple[int, ...]  # S + 1 offsets into balls
    colours: F64  # (S, 3)
    lifts: F64  # (S,)


def gait_phase(person: Person, walked_m: float) -> float:
    """Radians of the step cycle after a distance; people start on different feet."""
    return 2 * math.pi * walked_m / (_STRIDE_M * person.height_m / _AVERAGE_M) + person.person_id


def pose(person: Person, phase: float) -> Figure:
    """The person in mid-step at `phase` radians of the gait cycle."""
    solids = [*_legs(person, phase), *_torso(person), *_arms(person, phase), *_head(person), *_carried(person, phase)]
    balls = np.array([ball for solid in solids for ball in solid.balls], np.float64)
    scale = person.height_m / _AVERAGE_M
    balls *= scale
    # The body sinks when the legs are apart: the lower foot always touches the ground.
    balls[:, 2] -= (balls[:, 2] - balls[:, 3])[:_LEG_BALLS].min()
    starts = np.cumsum([0, *(len(solid.balls) for solid in solids)])
    return Figure(
        balls,
        tuple(int(start) for start in starts),
        np.array([solid.colour for solid in solids], np.float64),
        np.array([solid.lift_m for solid in solids], np.float64),
    )


_LEG_BALLS = 12  # six for each leg, first of all


def _legs(person: Person, phase: float) -> list[Solid]:
    cloth, skin, girth = person.lower_rgb, person.skin_rgb, person.girth
    solids = []
    for side, at in ((-1, phase), (1, phase + math.pi)):
        swing = 0.42 * math.sin(at)
        bend = 0.12 + 0.85 * max(0.0, math.cos(at)) ** 1.5
        hip = (0.085 * side, 0.0, 0.93)
        knee = _hang(hip, swing, 0.44)
        ankle = _hang(knee, swing - bend, 0.42)
        toe = _hang(ankle, swing - bend + 1.35, 0.15)
        is_covered = person.lower is Lower.TROUSERS
        thigh = cloth if person.lower in (Lower.TROUSERS, Lower.SHORTS) else skin
        solids += [
            Solid(((*hip, 0.092 * girth), (*knee, 0.064 * girth)), thigh),
            Solid(((*knee, 0.06 if is_covered else 0.054), (*ankle, 0.052 if is_covered else 0.038)),
                  cloth if is_covered else skin),
            Solid(((ankle[0], ankle[1] - 0.02, ankle[2] - 0.03, 0.042), (*toe, 0.034)), person.shoe_rgb),
        ]  # fmt: skip
    if person.lower in (Lower.SKIRT, Lower.DRESS):
        sway = 0.05 * math.sin(phase)
        hem = [(x, y + sway * x * 8, 0.52, 0.03) for x in (-0.17, 0.17) for y in (-0.12, 0.12)]
        waist = [(x, y, 0.98, 0.03) for x in (-0.13 * girth, 0.13 * girth) for y in (-0.07, 0.07)]
        solids.append(Solid((*hem, *waist), cloth, 0.2))
    return solids


def _torso(person: Person) -> list[Solid]:
    width, depth = 0.145 * person.shoulders, 0.052 * person.girth
    hip_width = (0.115 if person.gender == "man" else 0.125) * person.girth
    bottom = {Upper.COAT: 0.62, Upper.JACKET: 0.9}.get(person.upper, 0.96)
    hem = hip_width + (0.03 if person.upper is Upper.COAT else 0.0)
    cloth = person.upper_rgb
    solids = [
        Solid(tuple((x, y, z, 0.058) for x, z in ((-width, 1.42), (width, 1.42), (-hip_width, 1.05), (hip_width, 1.05))
                    for y in (-depth, depth)), cloth, 0.06),
        Solid(tuple((x, y, z, 0.05) for x, z in ((-hip_width, 1.1), (hip_width, 1.1), (-hem, bottom), (hem, bottom))
                    for y in (-depth * 1.1, depth * 1.1)), cloth, 0.21 if person.upper is Upper.COAT else 0.05),
        Solid(((0, 0, 1.46, 0.052), (0, 0.01, 1.54, 0.05)), person.skin_rgb),
    ]  # fmt: skip
    front = depth + 0.06
    if person.upper in (Upper.JACKET, Upper.COAT):  # open: a bright shirt beneath
        solids.append(
            Solid(((-0.025, front, 1.4, 0.012), (0.025, front, 1.4, 0.012), (0, front, 1.1, 0.01)), _BRIGHT, 0.1)
        )
    elif person.has_logo:
        solids.append(Solid(((-0.05, front, 1.3, 0.02), (0.05, front, 1.25, 0.02)), _contrast(cloth), 0.02))
    return solids


def _arms(person: Person, phase: float) -> list[Solid]:
    cloth, skin = person.upper_rgb, person.skin_rgb
    solids = []
    for side, at in ((-1, phase + math.pi), (1, phase)):
        swing = 0.4 * math.sin(at)
        shoulder = (0.185 * person.shoulders * side, 0.0, 1.41)
        elbow = _hang(shoulder, swing, 0.29, 0.05 * side)
        hand = _hang(elbow, swing + 0.3, 0.26, 0.01 * side)
        middle = _hang(shoulder, swing, 0.19, 0.033 * side)
        bare = skin if not person.has_long_sleeves else cloth
        solids += [
            Solid(((*middle, 0.045), (*elbow, 0.04)), bare),
            Solid(((*shoulder, 0.06), (*middle, 0.054)), cloth, 0.01),
            Solid(((*elbow, 0.04), (*hand, 0.03)), bare),
            Solid(((*hand, 0.032), (hand[0], hand[1] + 0.02, hand[2] - 0.07, 0.028)), skin),
        ]
    return solids


def _head(person: Person) -> list[Solid]:
    hair = person.hair_rgb
    solids = [
        Solid(((0, 0.018, 1.645, 0.078), (0, 0.032, 1.585, 0.056)), person.skin_rgb),
        Solid(((0, -0.012, 1.685, 0.094), (0, -0.045, 1.63, 0.086)), hair, 0.012),
        *(Solid(((x, 0.09, 1.648, 0.01),), _DARK) for x in (-0.03, 0.03)),
        Solid(((-0.015, 0.086, 1.578, 0.006), (0.015, 0.086, 1.578, 0.006)), (150, 80, 76)),
    ]
    if person.has_long_hair:
        crown = ((-0.065, -0.045, 1.66, 0.04), (0.065, -0.045, 1.66, 0.04))
        tips = ((-0.09, -0.09, 1.38, 0.04), (0.09, -0.09, 1.38, 0.04))
        solids.append(Solid((*crown, *tips), hair, 0.03))
    if person.has_hat:
        solids += [
            Solid(((0, -0.005, 1.7, 0.1), (0, -0.01, 1.735, 0.085)), person.hat_rgb, 0.06),
            Solid(((-0.06, 0.13, 1.7, 0.015), (0.06, 0.13, 1.7, 0.015), (0, 0.05, 1.71, 0.04)), person.hat_rgb, 0.03),
        ]
    return solids


def _carried(person: Person, phase: float) -> list[Solid]:
    colour, back = person.bag_rgb, -(0.052 * person.girth + 0.06)
    if person.carried is Carried.BACKPACK:
        pack = tuple((x, y, z, 0.04) for x in (-0.11, 0.11) for y, z in
                     ((back - 0.02, 1.4), (back - 0.02, 1.02), (back - 0.12, 1.32), (back - 0.14, 1.04)))  # fmt: skip
        straps = [Solid(((x, -back, 1.42, 0.02), (x * 1.15, -back, 1.16, 0.018)), colour, 0.08) for x in (-0.1, 0.1)]
        return [Solid(pack, colour, 0.05), *straps]
    if person.carried is Carried.BAG:
        bag = tuple((0.235 + dx, y, z, 0.035) for dx in (-0.02, 0.03) for y in (-0.12, 0.12) for z in (0.8, 0.98))
        strap_front = Solid(((-0.1, -back, 1.44, 0.014), (0.2, -back * 0.6, 0.98, 0.014)), colour, 0.08)
        strap_behind = Solid(((-0.1, back, 1.44, 0.014), (0.2, back * 0.6, 0.98, 0.014)), colour, 0.08)
        return [Solid(bag, colour, 0.08), strap_front, strap_behind]
    if person.carried is Carried.HANDBAG:
        y = 0.2 * math.sin(phase + math.pi)
        bag = tuple((-0.25, y + dy, z, 0.035) for dy in (-0.12, 0.12) for z in (0.52, 0.7))
        return [Solid(bag, colour, 0.06), Solid(((-0.24, y, 0.84, 0.012), (-0.25, y, 0.7, 0.012)), colour, 0.06)]
    return []


def _hang(joint: Sequence[float], angle: float, length_m: float, outwards_m: float = 0.0) -> tuple[float, float, float]:
    """Where a limb ends that swings forward by `angle` radians from straight down."""
    return joint[0] + outwards_m, joint[1] + length_m * math.sin(angle), joint[2] - length_m * math.cos(angle)


def _contrast(colour: Colour) -> Colour:
    return _DARK if sum(colour) > 380 else _BRIGHT

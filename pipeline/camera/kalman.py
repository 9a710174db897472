"""Kalman filters of many boxes at once, in closed form.

Centre x, centre y, width and height of a box move at constant velocity and independently of one another, so that each
is a filter of two numbers (value, velocity) and the matrices of the textbook shrink to a few products of columns. Noise
is measured in heights of the person, as in DeepSORT (Wojke et al., 2017), but per second: any frame rate is followed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F64, I64


@dataclass(frozen=True, slots=True)
class KalmanConfig:
    """Standard deviations in heights of the person (and seconds); pairs are for the centre and for the size."""

    measurement: tuple[float, float] = (0.07, 0.1)
    start_speed: tuple[float, float] = (1.0, 0.1)  # heights per second; nobody knows at first where a person goes
    position_drift: tuple[float, float] = (0.05, 0.03)  # after one second
    speed_drift: tuple[float, float] = (0.3, 0.05)  # after one second


class BoxFilters:
    """One filter for each of T boxes, as columns in the order of creation."""

    def __init__(self, config: KalmanConfig) -> None:
        self._measurement, self._start_speed, self._position_drift, self._speed_drift = (
            np.square(np.array([pair[0], pair[0], pair[1], pair[1]]))
            for pair in (config.measurement, config.start_speed, config.position_drift, config.speed_drift)
        )
        self.value: F64 = np.zeros((0, 4))  # (T, 4) centre x, centre y, width, height; px
        self.speed: F64 = np.zeros((0, 4))  # px per second
        self._variance: F64 = np.zeros((3, 0, 4))  # of the value, of value with speed, of the speed

    def __len__(self) -> int:
        return len(self.value)

    def predict(self, elapsed_s: float) -> None:
        """Let `elapsed_s` go by."""
        unit = np.square(self.value[:, 3:])
        value, joint, speed = self._variance
        self.value += self.speed * elapsed_s
        np.maximum(self.value[:, 2:], 1.0, out=self.value[:, 2:])
        value += elapsed_s * (2 * joint + elapsed_s * speed + self._position_drift * unit)
        joint += elapsed_s * speed
        speed += elapsed_s * self._speed_drift * unit

    def correct(self, rows: I64, seen: F64) -> None:
        """Take in the boxes `seen` (N, 4: centre and size) by the filters `rows` (N,), each at most once."""
        value, joint, speed = self._variance[:, rows]
        surprise = seen - self.value[rows]
        certainty = 1 / (value + self._measurement * np.square(seen[:, 3:]))
        gain, speed_gain = value * certainty, joint * certainty
        self.value[rows] += gain * surprise
        self.speed[rows] += speed_gain * surprise
        self._variance[:, rows] = (1 - gain) * value, (1 - gain) * joint, speed - speed_gain * joint

    def restart(self, rows: I64, seen: F64, speed: F64) -> None:
        """Forget the past of `rows`: they are at `seen` and move at `speed` (N, 4)."""
        self.value[rows], self.speed[rows] = seen, speed
        self._variance[:, rows] = self._fresh(seen)

    def append(self, seen: F64) -> None:
        """New filters at rest at `seen` (N, 4: centre and size)."""
        self.value = np.concatenate([self.value, seen])
        self.speed = np.concatenate([self.speed, np.zeros_like(seen)])
        self._variance = np.concatenate([self._variance, self._fresh(seen)], axis=1)

    def keep(self, rows: I64) -> None:
        self.value, self.speed, self._variance = self.value[rows], self.speed[rows], self._variance[:, rows]

    def _fresh(self, seen: F64) -> F64:
        unit = np.square(seen[:, 3:])
        return np.stack([self._measurement * unit, np.zeros_like(seen), self._start_speed * unit])

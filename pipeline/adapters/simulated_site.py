"""A camera of a simulated site as a `FrameSource`, and its address.

`simulated://site?seed=7&cameras=4&camera=0&people=12&fps=10&size=640x360&start=1767225600&clock=real&duration=60`

Every key may be left out, and so may `site`. Cameras with the same seed, cameras, people, size and start show one site,
in whatever process they run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from pipeline.adapters.addresses import CameraAddress
from pipeline.adapters.frame_times import RateGate
from pipeline.adapters.simulation.site import MAX_CAMERAS, SimulatedSite
from pipeline.adapters.source_options import SourceOptions
from pipeline.contracts import CameraId, Frame
from pipeline.errors import ConfigurationError, StreamEnded
from pipeline.interfaces import Clock

SCHEME = "simulated://"
_PLACE = "site"
EPOCH_AT = 1_767_225_600.0  # 2026-01-01 00:00 UTC: the site's second 0 when the address names none
_SIZES_PX = (64, 3840)
_MAX_FPS = 120.0


@dataclass(frozen=True, slots=True)
class SimulatedAddress:
    """Which site, which of its cameras, and how time passes; `str()` gives it as text.

    `start_at` is when the site's clock shows 0 (UTC seconds); frames are taken at `start_at + k / fps`. A virtual clock
    gives them as fast as they are wanted, from k = 0. `duration_s` counts from `start_at` where that is given, else
    from the first frame.
    """

    seed: int = 1
    cameras: int = 4
    camera: int = 0  # counted from 0
    people: int = 12
    fps: float = 10.0
    size_px: tuple[int, int] = (640, 360)  # width, height
    start_at: float | None = None
    is_virtual: bool = False
    duration_s: float | None = None

    def __post_init__(self) -> None:
        smallest, largest = _SIZES_PX
        _demand(self.seed >= 0, "seed", self.seed, "0 or more")
        _demand(1 <= self.cameras <= MAX_CAMERAS, "cameras", self.cameras, f"1 to {MAX_CAMERAS}")
        _demand(0 <= self.camera < self.cameras, "camera", self.camera, f"0 to {self.cameras - 1}")
        _demand(self.people >= 1, "people", self.people, "1 or more")
        _demand(0 < self.fps <= _MAX_FPS, "fps", self.fps, f"above 0, at most {_MAX_FPS:g}")
        _demand(
            all(smallest <= side <= largest and side % 2 == 0 for side in self.size_px),
            "size",
            "x".join(map(str, self.size_px)),
            f"even sides of {smallest} to {largest} px",
        )
        _demand(self.start_at is None or math.isfinite(self.start_at), "start", self.start_at, "UTC seconds")
        _demand(
            self.duration_s is None or 0 < self.duration_s < math.inf, "duration", self.duration_s, "seconds above 0"
        )

    def __str__(self) -> str:
        width, height = self.size_px
        values: dict[str, object] = {"seed": self.seed, "cameras": self.cameras, "camera": self.camera}
        values |= {"people": self.people, "fps": f"{self.fps:g}", "size": f"{width}x{height}"}
        if self.start_at is not None:
            values["start"] = repr(self.start_at)
        values["clock"] = "virtual" if self.is_virtual else "real"
        if self.duration_s is not None:
            values["duration"] = f"{self.duration_s:g}"
        return f"{SCHEME}{_PLACE}?{urlencode(values)}"

    @property
    def epoch_at(self) -> float:
        """UTC seconds of the site's second 0."""
        return EPOCH_AT if self.start_at is None else self.start_at

    def time_s(self, captured_at: float) -> float:
        """A capture time on the site's own clock, where the truth is asked for."""
        return captured_at - self.epoch_at

    def site(self) -> SimulatedSite:
        """The site, to render or to ask for the truth. Its scenes are painted when first needed."""
        return SimulatedSite(self.seed, self.cameras, self.people, self.size_px)


def parse_simulated_address(text: str) -> SimulatedAddress:
    """Read an address. Raises `ConfigurationError` for unknown or repeated keys and for values out of range."""
    if not text.startswith(SCHEME):
        raise ConfigurationError(f"{text!r} is no simulated camera; expected {SCHEME}{_PLACE}?seed=7&camera=0&…")
    place, _, query = text.removeprefix(SCHEME).partition("?")
    if place.rstrip("/") not in ("", _PLACE):
        raise ConfigurationError(f"{text!r} names the place {place!r}; expected {SCHEME}{_PLACE}?key=value&…")
    values: dict[str, object] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _KEYS:
            raise ConfigurationError(f"{key!r} is unknown in {text!r}; known keys: {', '.join(_KEYS)}")
        name, read, expected = _KEYS[key]
        if name in values:
            raise ConfigurationError(f"{key} stands twice in {text!r}; leave one")
        try:
            values[name] = read(value)
        except (ValueError, KeyError) as error:
            raise ConfigurationError(f"{key}={value!r} of a simulated camera; expected {expected}") from error
    return SimulatedAddress(**values)  # type: ignore[arg-type]  # the readers of _KEYS give the types of the fields


def open_simulated(
    camera_id: CameraId, address: CameraAddress, options: SourceOptions, clock: Clock
) -> SimulatedCamera:
    """The camera behind an operator's address. Raises `ConfigurationError` for an address that cannot be read."""
    return SimulatedCamera(camera_id, parse_simulated_address(address.url), clock, options.target_fps)


class SimulatedCamera:
    """`FrameSource` of one camera of a `SimulatedSite`. Frames above `target_fps` are never rendered."""

    def __init__(
        self, camera_id: CameraId, address: SimulatedAddress, clock: Clock, target_fps: float | None = None
    ) -> None:
        self._camera_id = camera_id
        self._address = address
        self._clock = clock
        self._gate = RateGate(target_fps)
        self._site = address.site()
        self._index = 0
        self._number = self._newest() - 1  # of the last frame taken, on the grid of the site
        begins_at = address.epoch_at if address.start_at is not None else self._captured_at(self._number + 1)
        self._ends_at = begins_at + (address.duration_s or math.inf)

    @property
    def address(self) -> str:
        return str(self._address)

    def read(self) -> Frame:
        """The next frame of the grid, at its time; a late reader gets the newest. `StreamEnded` after the duration."""
        self._number = max(self._number + 1, self._newest())
        while not self._gate.admits(captured_at := self._captured_at(self._number)):
            self._number += 1
        if captured_at >= self._ends_at:
            raise StreamEnded(f"{self.address} has given its {self._address.duration_s:g} s")
        if not self._address.is_virtual:
            self._clock.sleep(captured_at - self._clock.now())
        image = self._site.render(self._address.camera, self._number / self._address.fps)
        frame = Frame(self._camera_id, image, captured_at, self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        """Nothing is held open."""

    def _newest(self) -> int:
        """The newest moment of the grid that is not in the future; 0 with a virtual clock or before the start."""
        if self._address.is_virtual:
            return 0
        return max(0, math.floor(self._address.time_s(self._clock.now()) * self._address.fps))

    def _captured_at(self, number: int) -> float:
        return self._address.epoch_at + number / self._address.fps


def _demand(is_right: bool, key: str, found: object, expected: str) -> None:
    if not is_right:
        raise ConfigurationError(f"{key}={found} of a simulated camera; expected {expected}")


def _size(text: str) -> tuple[int, int]:
    width, height = text.lower().split("x")
    return int(width), int(height)


_KEYS: dict[str, tuple[str, Callable[[str], object], str]] = {
    "seed": ("seed", int, "a whole number"),
    "cameras": ("cameras", int, "a whole number"),
    "camera": ("camera", int, "a whole number from 0"),
    "people": ("people", int, "a whole number"),
    "fps": ("fps", float, "frames per second"),
    "size": ("size_px", _size, "WIDTHxHEIGHT, like 640x360"),
    "start": ("start_at", float, "UTC seconds"),
    "clock": ("is_virtual", {"real": False, "virtual": True}.__getitem__, "real or virtual"),
    "duration": ("duration_s", float, "seconds"),
}

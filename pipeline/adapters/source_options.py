"""How a camera's stream is opened and read, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Safe defaults for any camera. Files play like cameras unless `in_real_time` is off."""

    target_fps: float | None = 8.0  # frames given out per second; None: every one
    transport: Literal["tcp", "udp"] = "tcp"  # of RTSP
    open_timeout_s: float = 5.0
    read_timeout_s: float = 10.0  # longer than a feed's stall time: the feed's clock decides
    assumed_fps: float = 25.0  # for recorded streams that state neither times nor a rate
    in_real_time: bool = True  # recorded video plays at its natural speed and skips when it falls behind
    loop: bool = False  # recorded video starts again at its end
    starts_at: float | None = None  # UTC seconds of the first frame of recorded video; None: now
    max_pixels: int = 3840 * 2160  # larger pictures are scaled down to this many


@dataclass(slots=True)
class SourceCounts:
    """What a source has done since it was opened."""

    decoded: int = 0
    corrupt: int = 0  # damaged packets and pictures, skipped
    decode_s: float = 0.0

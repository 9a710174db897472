"""Which source reads which address: one dictionary."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.adapters.addresses import FILE_SCHEME, SIMULATED_SCHEME, CameraAddress, check_file
from pipeline.adapters.source_options import SourceOptions
from pipeline.contracts import CameraId
from pipeline.errors import ConfigurationError
from pipeline.interfaces import Clock, FrameSource

Opener = Callable[[CameraId, CameraAddress, SourceOptions, Clock], FrameSource]


def _av(camera_id: CameraId, address: CameraAddress, options: SourceOptions, clock: Clock) -> FrameSource:
    from pipeline.adapters.av_source import AvSource

    return AvSource(camera_id, address, options, clock)


def _simulated(camera_id: CameraId, address: CameraAddress, options: SourceOptions, clock: Clock) -> FrameSource:
    from pipeline.adapters.simulated_site import open_simulated

    return open_simulated(camera_id, address, options, clock)


SOURCES: dict[str, Opener] = {
    FILE_SCHEME: _av,
    "rtsp": _av,
    "rtsps": _av,
    "http": _av,
    "https": _av,
    SIMULATED_SCHEME: _simulated,
}


def check_address(address: CameraAddress) -> None:
    """Find at start what can never work. Raises `ConfigurationError`: unknown scheme, missing or empty file."""
    if address.scheme not in SOURCES:
        raise ConfigurationError(
            f"addresses of the kind {address.scheme}:// are unknown; known are the path of a video file and "
            + ", ".join(f"{scheme}://" for scheme in SOURCES)
        )
    check_file(address)


def open_source(camera_id: CameraId, address: CameraAddress, options: SourceOptions, clock: Clock) -> FrameSource:
    """Open the stream. Raises `ConfigurationError` for what can never work and `StreamLost` for what may later."""
    check_address(address)
    return SOURCES[address.scheme](camera_id, address, options, clock)

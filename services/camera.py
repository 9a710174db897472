"""`sightline camera`: settings → feeds, detector, outbox → the camera worker's loop."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.adapters.addresses import CameraAddress, parse_address
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.outbox import Outbox
from pipeline.adapters.source_options import SourceOptions
from pipeline.adapters.sources import check_address, open_source
from pipeline.adapters.spool import Spool
from pipeline.adapters.supervised_feed import FeedConfig, SupervisedFeed
from pipeline.camera.concealing import conceal_heads, show
from pipeline.camera.hosted_camera import CameraParts, HostedCamera
from pipeline.camera.tracklets import TrackletConfig, TrackletCutter
from pipeline.camera.worker import CameraWorker, WorkerConfig
from pipeline.contracts import CameraId, StreamName
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.interfaces import Clock, Tracker
from services.detection import configured_detector, open_tracker
from services.runtime import announce_ready, open_bus, open_status_board, service
from services.settings import CameraSettings, Settings
from services.supervisor import SUPERVISOR_VARIABLE
from services.track_log import LoggedTracker

log = logging.getLogger(__name__)


def run(settings: Settings, only: Sequence[str] | None) -> None:
    """Host the cameras of `settings`, or only those named, until a signal or the end of all recordings.

    Raises `ConfigurationError` before anything starts for an address or a file that can never work.
    """
    cameras = chosen(settings.cameras, only)
    addresses = [checked_address(camera) for camera in cameras]
    clock, rng = SystemClock(), random.Random()
    with service("camera", settings) as stop, contextlib.ExitStack() as stack:
        detector = configured_detector(settings)
        # A spool of its own for each worker, found again by the worker that hosts the same cameras after a restart.
        spool = Spool(settings.data_dir / "spool" / cameras[0].id, settings.spool_max_bytes)
        adopt_orphans(spool, orphaned_spools(settings, cameras))
        outbox = Outbox(open_bus(settings), spool, StreamName.CROPS)
        stack.callback(outbox.close)
        stack.callback(outbox.pump)
        feeds = [
            SupervisedFeed(CameraId(camera.id), address, feed_config(camera), clock, rng)
            for camera, address in zip(cameras, addresses, strict=True)
        ]
        boot_id = new_boot_id(clock, rng)
        worker = CameraWorker(
            [HostedCamera(feed, camera_parts(settings, feed.camera_id), boot_id, clock) for feed in feeds],
            detector,
            outbox,
            open_status_board(settings),
            clock,
            WorkerConfig(
                ends_with_recordings=ends_with_recordings(
                    settings.ends_with_recordings, SUPERVISOR_VARIABLE in os.environ, sys.stderr.isatty()
                )
            ),
        )
        announce_ready()
        worker.run(stop.is_set)


def orphaned_spools(settings: Settings, hosted: Sequence[CameraSettings]) -> list[Path]:
    """Spools with messages that no worker of these settings opens for itself: their cameras were removed or regrouped.

    The worker that hosts a camera takes its spool; those of unknown cameras are for whichever worker comes first.
    """
    elsewhere = {camera.id for camera in settings.cameras} - {camera.id for camera in hosted}
    apart = elsewhere | {hosted[0].id}
    waiting = {path.parent for path in (settings.data_dir / "spool").glob("*/*.spool")}
    return sorted(folder for folder in waiting if folder.name not in apart)


def adopt_orphans(spool: Spool, folders: Sequence[Path]) -> None:
    """A disk in trouble is no reason not to watch: what cannot be taken over now waits for the next start."""
    for folder in folders:
        try:
            spool.adopt(folder)
        except Unavailable as error:
            log.warning("the messages in %s stay there: %s", folder, error)


def probe(camera: CameraSettings) -> str:
    """Open the camera, take one frame and say how it went. Raises `SightlineError` when there is none."""
    address = checked_address(camera)
    began_s = time.monotonic()
    source = open_source(CameraId(camera.id), address, feed_config(camera).source, SystemClock())
    try:
        frame = source.read()
    finally:
        source.close()
    height, width = frame.image.shape[:2]
    return f"{address.public}: {width}x{height}, first frame after {time.monotonic() - began_s:.1f} s"


def chosen(cameras: Sequence[CameraSettings], only: Sequence[str] | None) -> list[CameraSettings]:
    """The cameras to host, in the settings' order. Raises `ConfigurationError` for an unknown name, or for none."""
    known = {camera.id: camera for camera in cameras}
    unknown = [name for name in only or () if name not in known]
    if unknown:
        raise ConfigurationError(
            f"--only names {', '.join(unknown)}; the settings know {', '.join(known) or 'no camera'}"
        )
    found = [camera for camera in cameras if not only or camera.id in only]
    if not found:
        raise ConfigurationError(
            "no camera is given; name one with --camera lobby=rtsp://host/stream, or -c cameras.yaml"
        )
    return found


def checked_address(camera: CameraSettings) -> CameraAddress:
    """The camera's address. A file is opened once, so that one that is no video is refused before anything starts.

    Raises `ConfigurationError`.
    """
    try:
        address = parse_address(camera.address.get_secret_value())
        check_address(address)
        if address.is_file:
            open_source(CameraId(camera.id), address, SourceOptions(), SystemClock()).close()
    except ConfigurationError as error:
        raise ConfigurationError(f"camera {camera.id}: {error}") from error
    return address


def ends_with_recordings(wanted: bool | None, is_supervised: bool, is_on_terminal: bool) -> bool:
    """Whether the worker stops when all its cameras were recordings and have ended.

    One that ends under a supervisor or in a container is started again and shows its recordings twice. So it goes on
    under the supervisor always, and elsewhere as `wanted`; by default it ends only before a human at a terminal.
    """
    return not is_supervised and (is_on_terminal if wanted is None else wanted)


def feed_config(camera: CameraSettings) -> FeedConfig:
    """How the camera's stream is read."""
    options = SourceOptions(target_fps=camera.analysed_fps, transport=camera.transport, loop=camera.loop)
    return FeedConfig(stall_after_s=camera.stall_after_s, source=options)


def camera_parts(settings: Settings, camera_id: CameraId) -> CameraParts:
    """Tracker and cutter of one camera."""
    tracking = settings.tracking
    pieces = TrackletConfig(
        first_cut_after_s=tracking.first_cut_after_s,
        cut_every_s=tracking.cut_every_s,
        crops_per_tracklet=tracking.crops_per_tracklet,
    )

    def new_tracker(boot_id: str) -> Tracker:
        tracker = open_tracker(tracking.tracker)
        return LoggedTracker(tracker, settings.track_logs, camera_id, boot_id) if tracking.log_tracks else tracker

    is_concealed = any(camera.id == camera_id and camera.blur_heads for camera in settings.cameras)
    conceal = conceal_heads if is_concealed else show
    return CameraParts(new_tracker, lambda boot_id: TrackletCutter(camera_id, boot_id, pieces), conceal)


def new_boot_id(clock: Clock, rng: random.Random) -> str:
    """Names one start of a worker. Never given twice: the moment in hexadecimal, then chance."""
    return f"{int(clock.now()):x}{rng.getrandbits(24):06x}"

"""Frames by PyAV (FFmpeg): RTSP, HTTP video, MJPEG and files, raw H.264 and H.265 included.

Every picture is decoded, because later ones refer to it, but only those that the target rate admits are converted to
RGB: that is where the time goes that can be saved.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Iterator

import av
import av.error
import av.logging
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from pipeline.adapters.addresses import EXPECTED_FILES, CameraAddress, check_file
from pipeline.adapters.frame_times import LiveTimes, RateGate, RecordedTimes
from pipeline.adapters.source_options import SourceCounts, SourceOptions
from pipeline.contracts import CameraId, Frame, Image
from pipeline.errors import ConfigurationError, StreamEnded, StreamLost
from pipeline.interfaces import Clock

log = logging.getLogger(__name__)

# FFmpeg writes addresses with their passwords to standard error; what matters arrives as exceptions.
av.logging.set_level(None)

# What a stream may make FFmpeg open in turn. A video file or a playlist must never reach other files or the network.
_PROTOCOLS = {
    "file": "file",
    "rtsp": "rtsp,rtp,rtcp,udp,tcp",
    "rtsps": "rtsps,rtsp,rtp,rtcp,srtp,udp,tcp,tls",
    "http": "http,https,tcp,tls,crypto",
    "https": "http,https,tcp,tls,crypto",
}
# Without this list FFmpeg plays text files as animations and follows playlists found on disk.
_FILE_FORMATS = "mov,matroska,avi,mpegts,mpeg,h264,hevc,av1,obu,ivf,mjpeg,mpjpeg,mpeg4,m4v,flv,ogg,asf,mxf,dv"
_NETWORK_FORMATS = f"{_FILE_FORMATS},rtsp,sdp,rtp,hls,jpeg_pipe"
_UNTIMED_FORMATS = ("mpjpeg", "mjpeg", "jpeg_pipe")  # FFmpeg makes up 25 frames per second for these
_FLAWED_IN_A_ROW = 50  # a camera that never sends a full key frame is always "flawed": better than no picture


class AvSource:
    """`FrameSource` for every address that FFmpeg can read. Opening happens in the constructor.

    Raises `ConfigurationError` for a file that cannot be played, `StreamLost` for a stream that does not come.
    """

    def __init__(self, camera_id: CameraId, address: CameraAddress, options: SourceOptions, clock: Clock) -> None:
        check_file(address)
        self.counts = SourceCounts()
        self._camera_id = camera_id
        self._address = address
        self._options = options
        self._clock = clock
        self._gate = RateGate(options.target_fps)
        self._reformatter = VideoReformatter()
        self._container, self._stream = self._open()
        self._is_recorded = address.is_file or (_is_http(address) and self._container.duration is not None)
        # HTTP live streaming hands over seconds of video at once, so it is paced like a recording.
        self._is_paced = self._container.format.name == "hls" or (self._is_recorded and options.in_real_time)
        self._has_times = self._is_recorded or self._container.format.name not in _UNTIMED_FORMATS
        starts_at = clock.now() if options.starts_at is None else options.starts_at
        self._recorded = RecordedTimes(starts_at, self._frame_s()) if self._is_recorded or self._is_paced else None
        self._live = LiveTimes()
        self._pictures = self._all_passes()

    @property
    def address(self) -> str:
        return self._address.public

    def read(self) -> Frame:
        for picture in self._pictures:
            captured_at = self._captured_at(picture)
            if not self._gate.admits(captured_at):
                continue
            if self._is_paced:
                self._clock.sleep(captured_at - self._clock.now())
            return Frame(self._camera_id, self._rgb(picture), captured_at, self.counts.decoded - 1)
        if self._is_recorded:
            if not self.counts.decoded:
                raise ConfigurationError(f"{self.address} holds no readable picture; expected {EXPECTED_FILES}")
            raise StreamEnded(f"{self.address} has given its last frame")
        raise StreamLost(f"{self.address} closed the stream; reconnecting")

    def close(self) -> None:
        self._pictures.close()
        self._container.close()

    # --- decoding ------------------------------

    def _all_passes(self) -> Generator[VideoFrame]:
        while True:
            before = self.counts.decoded
            yield from self._one_pass()
            # A file without a single picture would spin here for ever.
            if not (self._is_recorded and self._options.loop) or self.counts.decoded == before:
                return
            self._container.close()
            self._container, self._stream = self._open()
            if self._recorded is not None:
                self._recorded.begin_again()

    def _one_pass(self) -> Iterator[VideoFrame]:
        flawed_in_a_row = 0
        for packet in self._packets():
            began = self._clock.monotonic()
            try:
                pictures = packet.decode()
            except av.error.FFmpegError:
                self.counts.corrupt += 1
                continue
            self.counts.decode_s += self._clock.monotonic() - began
            for picture in pictures:
                flawed_in_a_row = flawed_in_a_row + 1 if picture.is_corrupt else 0
                if 0 < flawed_in_a_row <= _FLAWED_IN_A_ROW:
                    self.counts.corrupt += 1
                    continue
                self.counts.decoded += 1
                yield picture

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.EOFError):
                return
            except av.error.FFmpegError as error:
                if not self._is_recorded:
                    raise StreamLost(f"{self.address} broke off: {_reason(error)}; reconnecting") from None
                log.warning("%s is damaged and ends early: %s", self.address, _reason(error))
                self.counts.corrupt += 1
                return
            yield packet

    def _captured_at(self, picture: VideoFrame) -> float:
        pts_s = picture.time if self._has_times else None
        if self._recorded is None:
            return self._live.at(pts_s, self._clock.now())
        captured_at = self._recorded.at(pts_s)
        return self._recorded.caught_up(self._clock.now()) if self._is_paced else captured_at

    def _rgb(self, picture: VideoFrame) -> Image:
        shrink = min(1.0, math.sqrt(self._options.max_pixels / (picture.width * picture.height)))
        width, height = (max(2, int(side * shrink)) for side in (picture.width, picture.height))
        converted = self._reformatter.reformat(picture, width=width, height=height, format="rgb24", threads=1)
        return np.asarray(converted.to_ndarray(), np.uint8)

    # --- opening ------------------------------

    def _open(self) -> tuple[InputContainer, VideoStream]:
        try:
            container = av.open(
                self._address.url,
                "r",
                options=self._library_options(),
                timeout=(self._options.open_timeout_s, self._options.read_timeout_s),
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._not_opened(_reason(error)) from None  # the cause may hold the password
        if not container.streams.video:
            container.close()
            raise self._not_opened("there is no video in it")
        stream = container.streams.video[0]
        # Frame threads delay a live picture by one frame each; slice threads do not.
        stream.thread_type = "AUTO" if self._address.is_file else "SLICE"
        return container, stream

    def _library_options(self) -> dict[str, str]:
        scheme = self._address.scheme
        options = {"protocol_whitelist": _PROTOCOLS[scheme]}
        if self._address.is_file:
            return options | {"format_whitelist": _FILE_FORMATS}
        # The frame rate is not asked for: finding it out would delay the first frame by more than a second.
        options |= {"format_whitelist": _NETWORK_FORMATS, "analyzeduration": "2000000", "fpsprobesize": "0"}
        if scheme in ("rtsp", "rtsps"):
            # A large receive buffer: a key frame arrives as one burst of datagrams.
            options |= {"rtsp_transport": self._options.transport, "buffer_size": "4194304"}
        return options

    def _not_opened(self, reason: str) -> ConfigurationError | StreamLost:
        if self._address.is_file:
            return ConfigurationError(f"{self.address} cannot be played: {reason}; expected {EXPECTED_FILES}")
        return StreamLost(f"{self.address} cannot be opened: {reason}; trying again")

    def _frame_s(self) -> float:
        # The demuxer of raw streams claims 25 frames per second of any video; the codec knows, or nobody does.
        stated = self._stream.codec_context.framerate
        return 1.0 / float(stated or self._options.assumed_fps)


def _is_http(address: CameraAddress) -> bool:
    return address.scheme in ("http", "https")


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (av.error.HTTPUnauthorizedError, "user name or password is wrong (401)"),
    (av.error.HTTPForbiddenError, "access is forbidden (403)"),
    (av.error.HTTPNotFoundError, "there is no such stream (404)"),
    (av.error.TimeoutError, "no answer in time"),
    (av.error.ExitError, "no answer in time"),
    (av.error.ConnectionRefusedError, "connection refused"),
    (av.error.InvalidDataError, "no readable video was found (in a truncated mp4 the index is missing)"),
)


def _reason(error: Exception) -> str:
    """Why FFmpeg failed, without the address that its own text repeats."""
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    return str(getattr(error, "strerror", "") or type(error).__name__)

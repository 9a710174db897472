"""One camera that never blocks and never gives up: a child process decodes and is killed when it stalls.

The rules, without threads: every look at the feed compares what the child has done with what it had done at the last
look. Pauses between attempts grow from one second to a minute. A camera that was silent is opened as soon as it answers
again, without waiting for the pause to end; one that answers but refuses us (a wrong password) is not pestered.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.adapters.addresses import CameraAddress
from pipeline.adapters.decoder_process import DecodeRequest, DecoderEvent, DecoderProcess, EventKind, Policy
from pipeline.adapters.feed_tally import FeedTally
from pipeline.adapters.frame_slot import FrameSlot
from pipeline.adapters.source_options import SourceOptions
from pipeline.contracts import CameraId, CameraState, CameraStatus, Frame
from pipeline.interfaces import Clock

log = logging.getLogger(__name__)

_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_STEADY_AFTER_S = 10.0  # frames for so long, and earlier failures are forgotten
_LOOKS_PER_STALL = 4
_FRAMES_PER_STALL = 3.0


@dataclass(frozen=True, slots=True)
class FeedConfig:
    """`latest` drops frames that are not taken in time; `every` makes the decoder wait (recorded video only)."""

    stall_after_s: float = 5.0  # without a new frame the child is killed
    policy: Policy = "latest"
    source: SourceOptions = field(default_factory=SourceOptions)


class Decoder(Protocol):
    """A running decoder: `DecoderProcess`; a scripted one in tests."""

    def next_event(self) -> DecoderEvent | None: ...

    def frame_taken(self) -> None: ...

    def exit_note(self) -> str | None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...


StartDecoder = Callable[[DecodeRequest, FrameSlot], Decoder]


def pause_s(failures: int, draw: float) -> float:
    """Seconds before the next attempt after `failures` (from 1) in a row; `draw` in [0, 1) spreads cameras apart.

    Doubles from 1 to 60 seconds, of which 75 to 100 % are taken.
    """
    longest = min(_LONGEST_PAUSE_S, _SHORTEST_PAUSE_S * 2.0 ** min(failures - 1, 10))
    return longest * (0.75 + 0.25 * draw)


class SupervisedFeed:
    """`Feed` in production. Call `take` or `status` often: each call also looks after the child process."""

    def __init__(
        self,
        camera_id: CameraId,
        address: CameraAddress,
        config: FeedConfig,
        clock: Clock,
        rng: random.Random,
        start_decoder: StartDecoder = DecoderProcess,
    ) -> None:
        self.camera_id = camera_id
        self._address = address
        self._config = config
        self._clock = clock
        self._rng = rng
        self._start_decoder = start_decoder
        self._slot = FrameSlot.create(config.source.max_pixels)
        self._tally = FeedTally(camera_id, self._slot)
        self._decoder: Decoder | None = None
        self._state = CameraState.CONNECTING
        self._is_over = False  # nothing will ever come again
        self._is_closed = False
        self._last_error = ""
        self._failures = 0
        self._newest: Frame | None = None
        self._looked_at = self._retry_at = self._up_since = clock.monotonic()
        self._quiet_s = 0.0

    def take(self) -> Frame | None:
        self._look()
        found = self._slot.take(self._tally.taken_sequence)
        if found is None:
            return None
        self._tally.note_taken(found.sequence)
        if self._decoder is not None:
            self._decoder.frame_taken()
        self._newest = Frame(self.camera_id, found.image, found.captured_at, found.index)
        return self._newest

    def status(self) -> CameraStatus:
        self._look()
        height, width = self._newest.image.shape[:2] if self._newest is not None else (0, 0)
        return CameraStatus(
            camera_id=self.camera_id,
            # A recording has not ended before its last frame was taken.
            state=CameraState.UP if self._is_over and self._tally.has_untaken else self._state,
            reported_at=self._clock.now(),
            frame_at=self._newest.captured_at if self._newest is not None else None,
            width_px=width,
            height_px=height,
            analysed_fps=0.0,
            people=0,
            reconnects=self._tally.reconnects,
            detector="",
            address=self._address.public,
            last_error=self._last_error,
        )

    def close(self) -> None:
        """Say good-bye to the camera and free everything. It cannot be used afterwards."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._decoder is not None and self._state is CameraState.UP:
            self._decoder.stop()
        elif self._decoder is not None:
            self._decoder.kill()
        self._decoder = None
        self._is_over = True
        self._tally.close()
        self._slot.close()

    # --- looking after the child ------------------------------

    def _look(self) -> None:
        now = self._clock.monotonic()
        # Time in which nobody looked (a suspended machine, a long pause of this process) speaks against no camera.
        elapsed_s = min(now - self._looked_at, self._config.stall_after_s / _LOOKS_PER_STALL)
        self._looked_at = now
        if self._is_over:
            return
        if self._decoder is not None and self._state in (CameraState.CONNECTING, CameraState.UP):
            self._watch(self._decoder, now, elapsed_s)
        else:
            self._wait(now)

    def _watch(self, decoder: Decoder, now: float, elapsed_s: float) -> None:
        exit_note = decoder.exit_note()  # asked before the events, so that the last of them is not missed
        if self._tally.look():
            self._quiet_s = 0.0
            self._note_up(now)
        elif self._tally.has_untaken:  # with the policy `every` the child waits for us
            self._quiet_s = 0.0
        else:
            self._quiet_s += elapsed_s
        event = decoder.next_event()
        if event is not None:
            self._handle(event, now)
        elif exit_note is not None:
            self._fail(CameraState.DOWN, self._address.without_secrets(exit_note), now)
        elif self._quiet_s > self._patience_s():
            self._tally.note_stall()
            self._drop_decoder()
            self._fail(CameraState.STALLED, f"no frame for {self._quiet_s:.1f} s", now)

    def _handle(self, event: DecoderEvent, now: float) -> None:
        if event.kind is EventKind.LOST:
            self._fail(CameraState.DOWN, event.text, now)
        elif event.kind is EventKind.REFUSED:
            self._finish(event.text)
        elif event.kind is EventKind.ENDED:
            self._finish()

    def _wait(self, now: float) -> None:
        event = self._decoder.next_event() if self._decoder is not None else None
        if event is not None and event.kind is EventKind.BACK:
            log.info("camera %s answers again", self.camera_id)
            self._failures = 0
            self._retry_at = now
        if now >= self._retry_at:
            self._connect(now)

    def _connect(self, now: float) -> None:
        self._drop_decoder()
        self._state = CameraState.CONNECTING
        self._quiet_s = 0.0
        self._tally.begin()
        request = DecodeRequest(
            camera_id=self.camera_id,
            address=self._address.url,
            options=self._config.source,
            policy=self._config.policy,
            slot_descriptor=self._slot.descriptor,
            seed=self._rng.getrandbits(32),
        )
        try:
            self._decoder = self._start_decoder(request, self._slot)
        except OSError as error:
            self._fail(CameraState.DOWN, f"no decoder process can be started: {error.strerror}", now)

    def _note_up(self, now: float) -> None:
        if self._state is not CameraState.UP:
            self._state = CameraState.UP
            self._up_since = now
            self._tally.note_up()
            log.info("camera %s is up: %s", self.camera_id, self._address.public)
        elif self._failures and now - self._up_since > _STEADY_AFTER_S:
            self._failures = 0
            self._last_error = ""

    def _fail(self, state: CameraState, error: str, now: float) -> None:
        """The stream is gone; what is left of the child may still knock at the camera's door."""
        if self._address.is_file and not self._config.source.loop:
            self._finish(error)  # a second attempt would show everybody again
            return
        self._state = state
        self._last_error = error
        self._failures += 1
        wait_s = pause_s(self._failures, self._rng.random())
        self._retry_at = now + wait_s
        self._tally.note_down()
        log.warning("camera %s is %s: %s; next attempt in %.0f s", self.camera_id, state, error, wait_s)

    def _finish(self, error: str = "") -> None:
        """Nothing will come again: a recording is at its end, or it cannot be played."""
        self._state = CameraState.ENDED
        self._last_error = error
        self._is_over = True
        self._drop_decoder()
        self._tally.note_down()
        if error:
            log.error("camera %s is given up: %s", self.camera_id, error)
        else:
            log.info("camera %s has ended", self.camera_id)

    def _drop_decoder(self) -> None:
        if self._decoder is not None:
            self._decoder.kill()
            self._decoder = None

    def _patience_s(self) -> float:
        patience_s = self._config.stall_after_s
        if self._config.source.target_fps:
            patience_s = max(patience_s, _FRAMES_PER_STALL / self._config.source.target_fps)
        return patience_s + (self._config.source.open_timeout_s if self._state is CameraState.CONNECTING else 0.0)

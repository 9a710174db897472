"""When was a picture captured, and is it wanted? Pure rules over presentation times."""

from __future__ import annotations

from pipeline.errors import StreamLost

_MAX_DISAGREEMENT_S = 1.0
# A quartz of a cheap camera is off by up to 500 parts in a million; twice that is followed without a jump.
_FOLLOWED_DRIFT = 0.001


class LiveTimes:
    """Capture times of a live stream: paced by its presentation times, anchored to when pictures arrive.

    The smallest delay seen between presentation and arrival is taken as the true one, so network jitter does not reach
    the capture times. A disagreement of more than a second (a camera's clock was set, the stream began anew) anchors
    afresh. Times never go backwards and never lie after the arrival.
    """

    def __init__(self) -> None:
        self._delay_s: float | None = None
        self._pts_s = 0.0
        self._last_at = float("-inf")

    def at(self, pts_s: float | None, received_at: float) -> float:
        """UTC seconds of the next picture. `pts_s` is None where the stream has no trustworthy times.

        Raises `StreamLost` when this machine's own clock has been set back: a new stream starts on the right time.
        """
        if received_at < self._last_at - _MAX_DISAGREEMENT_S:
            raise StreamLost(
                f"the clock of this machine went back by {self._last_at - received_at:.0f} s; starting the stream anew"
            )
        captured_at = received_at if pts_s is None else pts_s + self._delay(pts_s, received_at)
        self._last_at = max(self._last_at, captured_at)
        return self._last_at

    def _delay(self, pts_s: float, received_at: float) -> float:
        newest_s = received_at - pts_s
        if self._delay_s is None or abs(newest_s - self._delay_s) > _MAX_DISAGREEMENT_S:
            self._delay_s = newest_s
        else:
            drift_s = _FOLLOWED_DRIFT * max(0.0, pts_s - self._pts_s)
            self._delay_s = min(newest_s, self._delay_s + drift_s)
        self._pts_s = pts_s
        return self._delay_s


class RecordedTimes:
    """Capture times of a file: its start plus presentation times; by picture number where there are none."""

    def __init__(self, starts_at: float, frame_s: float) -> None:
        self._starts_at = starts_at
        self._frame_s = frame_s
        self._first_pts_s: float | None = None
        self._last_at: float | None = None

    def at(self, pts_s: float | None) -> float:
        """UTC seconds of the next picture; one frame later than the last where `pts_s` is missing or goes back."""
        if pts_s is not None and self._first_pts_s is None:
            self._first_pts_s = pts_s
        following = self._starts_at if self._last_at is None else self._last_at + self._frame_s
        captured_at = following if pts_s is None else self._starts_at + pts_s - (self._first_pts_s or 0.0)
        if self._last_at is not None and captured_at <= self._last_at:
            captured_at = following
        self._last_at = captured_at
        return captured_at

    def begin_again(self) -> None:
        """The file plays once more from its first picture: continue where the last pass ended."""
        if self._last_at is not None:
            self._starts_at = self._last_at + self._frame_s
        self._first_pts_s = None

    def caught_up(self, now: float) -> float:
        """The newest capture time, moved to `now` if it lags: what plays as a camera does not fall behind."""
        if self._last_at is not None and now - self._last_at > _MAX_DISAGREEMENT_S:
            self._starts_at += now - self._last_at
            self._last_at = now
        return now if self._last_at is None else self._last_at


class RateGate:
    """Admits pictures at a target rate; None admits all."""

    def __init__(self, target_fps: float | None) -> None:
        self._period_s = 1.0 / target_fps if target_fps else 0.0
        self._due_at: float | None = None

    def admits(self, captured_at: float) -> bool:
        """Whether the picture is due. On average over a steady stream, exactly the target rate is admitted."""
        if self._period_s == 0.0:
            return True
        if self._due_at is None or abs(captured_at - self._due_at) > self._period_s:
            self._due_at = captured_at
        # Presentation times are rounded to the stream's clock: a picture early by less than that is on time.
        if captured_at < self._due_at - 0.001:
            return False
        self._due_at += self._period_s
        return True

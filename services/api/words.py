"""Moments, confidences and states in plain words, for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

from pipeline.contracts import CameraState, CameraStatus
from pipeline.search.people import Answer
from pipeline.search.understanding import Chip

SILENT_AFTER_S = 20.0

_STATES = {
    CameraState.CONNECTING: "connecting",
    CameraState.UP: "live",
    CameraState.STALLED: "stalled: no picture arrives",
    CameraState.DOWN: "down: trying again",
    CameraState.ENDED: "ended: the file is finished",
}


def confidence_in_words(confidence: float, is_confident: bool) -> str:
    if not is_confident:
        return "unlikely" if confidence < 0.5 else "not certain enough"
    return "very likely" if confidence >= 0.9 else "likely" if confidence >= 0.7 else "possible"


def share_in_words(share: float) -> str:
    """A probability for people: `87 %`, and never all or nothing, because nothing is that sure."""
    return "over 99 %" if share > 0.99 else "under 1 %" if share < 0.01 else f"{share:.0%}".replace("%", " %")


def answer_in_words(answer: Answer) -> str:
    """What a search came to, in a sentence or two."""
    compared = f"{_counted(answer.candidates, 'person', 'people')} compared"
    if answer.candidates == 0:
        found = "Nobody was seen by these cameras in this time."
    elif answer.people and all(person.confidence is None for person in answer.people):  # nobody was described
        found = f"{_counted(answer.candidates, 'person', 'people')}, last seen first."
    elif answer.confident == 0:
        found = f"No confident match: {compared}, none similar enough."
    else:
        found = f"{_counted(answer.confident, 'match', 'matches')}, {compared}."
    if not answer.unknown_words:
        return found
    words = ", ".join(f"“{word}”" for word in answer.unknown_words)
    return f"{found} The model does not know {words}."


def chip_in_words(chip: Chip, now: datetime) -> str:
    """What words of a question were taken for: `camera lobby`, `14:00:00 to 15:00:00`."""
    if chip.camera_id is not None:
        return f"camera {chip.camera_id}"
    since = "" if chip.since_at is None else moment_in_words(chip.since_at, now)
    until = "" if chip.until_at is None else moment_in_words(chip.until_at, now)
    return f"{since} to {until}" if since and until else f"after {since}" if since else f"before {until}"


def transits_in_words(transits_s: Sequence[float]) -> str:
    """How long a way took: `34 s`, `at the same time`, `12 s to 2 min, 3 times`. Below 0 two stays overlap."""
    shortest, longest = duration_in_words(min(transits_s)), duration_in_words(max(transits_s))
    if max(transits_s) <= 0:
        span = "at the same time"
    elif min(transits_s) <= 0:
        span = f"up to {longest}"
    else:
        span = shortest if shortest == longest else f"{shortest} to {longest}"
    return span if len(transits_s) == 1 else f"{span}, {len(transits_s)} times"


def transits_in_short(transits_s: Sequence[float]) -> str:
    """The same where there is little room: `34 s`, `12 s–2 min ×3`."""
    shortest, longest = duration_in_words(min(transits_s)), duration_in_words(max(transits_s))
    number, unit = longest.rsplit(" ", 1)
    begin = shortest.removesuffix(f" {unit}") if shortest.count(" ") == longest.count(" ") == 1 else shortest
    span = longest if shortest == longest else f"{begin}–{number} {unit}"
    return span if len(transits_s) == 1 else f"{span} ×{len(transits_s)}"


def stamp(at: float, zone: tzinfo | None) -> str:
    """A moment for paper: with the day, whichever it is."""
    return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def camera_light(status: CameraStatus, now: float) -> str:
    """A word for the style of a camera: live, waiting or trouble."""
    if now - status.reported_at > SILENT_AFTER_S:
        return "trouble"
    if status.state is CameraState.UP:
        return "live"
    return "waiting" if status.state in (CameraState.CONNECTING, CameraState.ENDED) else "trouble"


def camera_in_words(status: CameraStatus, now: float) -> str:
    """What a camera does now."""
    silent_s = now - status.reported_at
    if silent_s > SILENT_AFTER_S:
        return f"silent: its worker last reported {duration_in_words(silent_s)} ago"
    words = _STATES[status.state]
    if status.state is CameraState.UP:
        return f"{words}, {_counted(status.people, 'person', 'people')} in view, {status.analysed_fps:.1f} frames/s"
    return words


def duration_in_words(duration_s: float) -> str:
    """`4 s`, `3 min`, `2 h 5 min`, `3 d`."""
    whole_s = max(round(duration_s), 0)
    if whole_s < 60:
        return f"{whole_s} s"
    minutes = whole_s // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d"


def moment_in_words(at: float, now: datetime) -> str:
    """A moment in the zone of `now`: the clock time, with the date when it was on another day."""
    moment = datetime.fromtimestamp(at, now.tzinfo)
    if moment.date() == now.date():
        return moment.strftime("%H:%M:%S")
    day = f"{moment.day} {moment:%b}"
    return f"{day} {moment:%H:%M:%S}" if moment.year == now.year else f"{day} {moment:%Y %H:%M}"


def bytes_in_words(size_bytes: float) -> str:
    """`640 B`, `31.4 MB`, `1.5 TB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.5:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000.0
    return f"{size_bytes:.3g} TB"


def figure_in_words(figure: float) -> str:
    """A count as it is, a share with four digits."""
    return f"{figure:,.0f}" if figure >= 1.0 and figure.is_integer() else f"{figure:.4f}"


def iso_moment(at: float, zone: tzinfo = UTC) -> str:
    return datetime.fromtimestamp(at, zone).isoformat(timespec="seconds")


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"

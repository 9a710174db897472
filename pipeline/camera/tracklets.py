"""Where a track is cut into tracklets, and which of its crops are sent.

A piece is cut as soon as the first good crops exist, so that identity does not wait for the track's end, then every few
seconds, and when the track ends. Images are worked on here, but nothing is read or written and no clock is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from pipeline.boxes import areas
from pipeline.contracts import F32, F64, CameraId, Crop, Frame, Image, TrackletCrops, Tracks

_SHARPNESS_SIZE = (64, 128)  # width, height: sharpness of near and far persons is compared at one size
_TALL_PX, _SHARP = 160.0, 300.0  # where more height or sharpness adds little


@dataclass(frozen=True, slots=True)
class TrackletConfig:
    """When to cut, what to keep."""

    first_cut_after_s: float = 1.0
    cut_every_s: float = 4.0
    ends_after_s: float = 1.5  # a track not seen for so long has ended, as far as its pieces are concerned
    forgotten_after_s: float = 60.0  # longer than any tracker looks for a lost track
    min_detections: int = 3  # a shorter track is noise and gives nothing
    min_height_px: float = 24.0  # of a crop; below it nobody is recognised
    crops_per_tracklet: int = 4
    candidates: int = 8  # crops held for each track in memory
    spread_s: float = 0.4  # two crops closer in time than this show the same moment
    margin: float = 0.05  # share of the box added on every side of a crop
    max_height_px: int = 256  # of a stored crop
    jpeg_quality: int = 90


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A crop that may be sent. `worth` is a number from 0 to 1."""

    image: Image
    worth: float
    captured_at: float
    box: tuple[float, float, float, float]
    frame_size_px: tuple[int, int]
    score: float
    sharpness: float
    visibility: float


@dataclass(slots=True)
class _Piece:
    """What has been seen of one track since it was last cut."""

    sequence: int = 0
    detections: int = 0
    total_detections: int = 0  # of the whole track
    started_at: float = 0.0
    shown_at: float = 0.0  # the first frame that could give a crop
    ended_at: float = 0.0
    candidates: list[_Candidate] = field(default_factory=list)


class TrackletCutter:
    """Cuts the tracks of one camera. Not more than `candidates` crops are held for each track.

    Track numbers must not begin again under the same `boot_id`: they name the tracklets.
    """

    def __init__(self, camera_id: CameraId, boot_id: str, config: TrackletConfig | None = None) -> None:
        self._camera_id = camera_id
        self._boot_id = boot_id
        self._config = config or TrackletConfig()
        self._pieces: dict[int, _Piece] = {}

    def observe(self, frame: Frame, tracks: Tracks, now: float) -> list[TrackletCrops]:
        """Take in one frame and the tracks seen in it; the tracklets that are complete with it, sent at `now`.

        What is cut depends on the times of the frames alone.
        """
        seen = visibilities(tracks.boxes, frame.image.shape[1], frame.image.shape[0])
        for row, track_id in enumerate(tracks.track_ids.tolist()):
            piece = self._pieces.setdefault(track_id, _Piece())
            if not piece.detections:
                piece.started_at = piece.shown_at = frame.captured_at
            piece.detections += 1
            piece.total_detections += 1
            piece.ended_at = frame.captured_at
            self._consider(piece, frame, tracks.boxes[row], float(tracks.scores[row]), float(seen[row]))
        # Pictures of earlier frames are gone: these tell since when, and not who.
        for box in tracks.earlier:
            piece = self._pieces[box.track_id]
            piece.started_at = min(piece.started_at, box.captured_at)
            piece.detections += 1
        return self._cut_due(frame.captured_at, now)

    def finish(self, now: float) -> list[TrackletCrops]:
        """End all tracks; what is left of them, sent at `now`."""
        ended = [self._cut(track_id, is_last=True, now=now) for track_id in sorted(self._pieces)]
        self._pieces.clear()
        return [tracklet for tracklet in ended if tracklet is not None]

    def _cut_due(self, captured_at: float, now: float) -> list[TrackletCrops]:
        complete = []
        for track_id, piece in sorted(self._pieces.items()):
            silent_s = captured_at - piece.ended_at
            has_ended = silent_s > self._config.ends_after_s
            if piece.detections and (has_ended or self._is_due(piece)):
                complete.append(self._cut(track_id, has_ended, now))
            if has_ended:
                piece.detections, piece.candidates = 0, []
            # A tracker may find a track again after its last piece was sent; its next piece needs the next number.
            if silent_s > self._config.forgotten_after_s:
                del self._pieces[track_id]
        return [tracklet for tracklet in complete if tracklet is not None]

    def _is_due(self, piece: _Piece) -> bool:
        wait_s = self._config.cut_every_s if piece.sequence else self._config.first_cut_after_s
        return bool(piece.candidates) and piece.ended_at - piece.shown_at >= wait_s

    def _cut(self, track_id: int, is_last: bool, now: float) -> TrackletCrops | None:
        """The tracklet of the piece so far, which then begins anew; None where there is nothing worth sending."""
        piece = self._pieces[track_id]
        if not piece.candidates or piece.total_detections < self._config.min_detections:
            return None
        chosen = choose(piece.candidates, self._config.crops_per_tracklet, self._config.spread_s)
        tracklet = TrackletCrops(
            camera_id=self._camera_id,
            boot_id=self._boot_id,
            track_id=track_id,
            sequence=piece.sequence,
            started_at=piece.started_at,
            ended_at=piece.ended_at,
            sent_at=now,
            detections=piece.detections,
            is_last=is_last,
            crops=tuple(_encode(candidate, self._config) for candidate in chosen),
        )
        piece.sequence += 1
        piece.detections = 0
        piece.candidates = []
        return tracklet

    def _consider(self, piece: _Piece, frame: Frame, box: F32, score: float, visibility: float) -> None:
        """Keep the crop if it is among the best of this piece."""
        height, width = frame.image.shape[:2]
        if box[3] - box[1] < self._config.min_height_px:
            return
        held = piece.candidates
        # Most frames of a long piece cannot get in; that is found out before anything is cut or measured.
        if len(held) >= self._config.candidates:
            best_possible = worth(float(box[3] - box[1]), _SHARP, visibility, score)
            is_close = any(abs(one.captured_at - frame.captured_at) < self._config.spread_s for one in held)
            if is_close and best_possible <= min(one.worth for one in held):
                return
        image = cut_out(frame.image, box, self._config.margin)
        if image is None:
            return
        clear = sharpness(image)
        candidate = _Candidate(
            image=image,
            worth=worth(float(box[3] - box[1]), clear, visibility, score),
            captured_at=frame.captured_at,
            box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
            frame_size_px=(width, height),
            score=min(max(score, 0.0), 1.0),
            sharpness=clear,
            visibility=visibility,
        )
        held.append(candidate)
        if len(held) > self._config.candidates:
            keep = choose(held, self._config.candidates, self._config.spread_s)
            piece.candidates = sorted(keep, key=lambda one: one.captured_at)


def worth(height_px: float, sharpness: float, visibility: float, score: float) -> float:
    """How good a crop is for recognition, 0 to 1: a product, because any one fault spoils it."""
    tall = math.sqrt(min(height_px / _TALL_PX, 1.0))
    sharp = 0.5 + 0.5 * min(sharpness / _SHARP, 1.0)
    return tall * sharp * visibility**2 * (0.5 + 0.5 * min(max(score, 0.0), 1.0))


def choose(candidates: Sequence[_Candidate], count: int, spread_s: float) -> list[_Candidate]:
    """The best `count` candidates, best first, none within `spread_s` of a better one while there are others."""
    ranked = sorted(candidates, key=lambda one: (-one.worth, one.captured_at))
    apart: list[_Candidate] = []
    close: list[_Candidate] = []
    for one in ranked:
        is_apart = all(abs(one.captured_at - other.captured_at) >= spread_s for other in apart)
        (apart if is_apart else close).append(one)
    # Those that fill up rank behind those of other moments, which show more of the person.
    return (apart + close)[:count]


def visibilities(boxes: F32, width_px: int, height_px: int) -> F64:
    """(N, 4) → (N,) share of each box that is inside the frame and under no nearer box.

    Nearer is who stands lower in the picture: cameras look down. Boxes in front are counted one by one, so that what
    two of them hide together may count twice; never below 0.
    """
    boxes = boxes.astype(np.float64)
    whole = np.maximum(areas(boxes), 1e-9)
    inside = np.clip(boxes, 0, [width_px, height_px, width_px, height_px])
    width = np.minimum(inside[:, None, 2], inside[:, 2]) - np.maximum(inside[:, None, 0], inside[:, 0])
    height = np.minimum(inside[:, None, 3], inside[:, 3]) - np.maximum(inside[:, None, 1], inside[:, 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    is_nearer = boxes[:, 3] > boxes[:, None, 3]
    hidden = (shared * is_nearer).sum(axis=1)
    share: F64 = np.clip((areas(inside) - hidden) / whole, 0.0, 1.0)
    return share


def cut_out(image: Image, box: F32, margin: float) -> Image | None:
    """A copy of the part of `image` inside `box` grown by `margin`; None where nothing of it is in the picture."""
    grow_x, grow_y = (box[2] - box[0]) * margin, (box[3] - box[1]) * margin
    left, top = max(int(box[0] - grow_x), 0), max(int(box[1] - grow_y), 0)
    right, bottom = int(np.ceil(box[2] + grow_x)), int(np.ceil(box[3] + grow_y))
    part = image[top : max(bottom, 0), left : max(right, 0)]
    return part.copy() if part.shape[0] >= 4 and part.shape[1] >= 2 else None


def sharpness(image: Image) -> float:
    """Variance of the Laplacian of the grey picture at 128x64; blur lowers it."""
    grey = cv2.cvtColor(cv2.resize(image, _SHARPNESS_SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def _encode(candidate: _Candidate, config: TrackletConfig) -> Crop:
    height, width = candidate.image.shape[:2]
    image = candidate.image
    if height > config.max_height_px:
        size = (max(round(width * config.max_height_px / height), 1), config.max_height_px)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, config.jpeg_quality]
    )
    return Crop(
        jpeg=jpeg.tobytes(),
        captured_at=candidate.captured_at,
        box_px=candidate.box,
        frame_size_px=candidate.frame_size_px,
        score=candidate.score,
        sharpness=candidate.sharpness,
        visibility=candidate.visibility,
    )

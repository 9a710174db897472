"""Market-1501 as a day before six cameras: its file names tell who was where, and when.

`0002_c1s1_000451_03.jpg` is identity 2 at camera 1, in the camera's first recording, in frame 451 at 25 per second. The
recordings of a camera follow one another without a break, and the cameras started together, so all crops lie on one
line of time. This is measured: in six of ten cases two pictures of one person before two cameras are then less than
three minutes apart, and with no other shift of a recording so often.

What is replayed: every picture of `query/` and `bounding_box_test/` whose identity is above 0, so not the strangers and
the false boxes of the layout; with distractors also `bounding_box_train/`, which is fair for encoders that were not
trained on it. The pictures of one person before one camera are a track until nobody was seen for `track_gap_s`, and a
track is cut into tracklets of `cut_every_s`, as a camera worker cuts. A tracklet arrives with its last picture. Boxes,
tracks and their purity are given: what is measured are encoder and matcher. Two limits remain: the set holds only some
of the people who walked there, each of them before at least two cameras, and of a walk only some pictures, so that a
gap between them may divide a track although the person never left.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pipeline.contracts import Crop, TrackletCrops
from pipeline.embedding.crops import jpeg_size
from pipeline.errors import ConfigurationError
from pipeline.interfaces import Encoder
from reid_models.datasets.sample import ImageArchive, open_archive
from services.evaluation.identity import embed_tracklets
from services.evaluation.identity_answers import TrueTracklet

FRAMES_PER_S = 25.0
_TRAINING = "bounding_box_train"
_NAME = re.compile(r"(?:^|/)(query|bounding_box_test|bounding_box_train)/(\d{4,})_c(\d+)s(\d+)_(\d+)_\d+\.jpe?g$")
# Camera 6 stopped during its first recording and came back with the second; found as the shift above.
_PAUSE_BEFORE_S = {(6, 2): 3190.0}


@dataclass(frozen=True, slots=True)
class ReplayConfig:
    """How crops become tracklets: the same person before the same camera, cut like a camera worker cuts."""

    track_gap_s: float = 5.0  # unseen for longer, the person gets a new track
    cut_every_s: float = 4.0
    crops_per_tracklet: int = 4


@dataclass(frozen=True, slots=True)
class ReplayedTracklet:
    """A tracklet and who it really is."""

    tracklet: TrackletCrops
    true_id: int | None  # None: nobody


@dataclass(frozen=True, slots=True)
class _Picture:
    name: str
    part: str
    person: int
    camera: int
    sequence: int
    at_s: float  # since the start of the day


def market_replay(
    path: Path,
    sequences: Collection[int] | None = None,
    config: ReplayConfig | None = None,
    with_distractors: bool = False,
) -> list[ReplayedTracklet]:
    """The test identities of a folder or zip archive, in the order in which their tracklets ended.

    `sequences` keeps only these recordings of each camera. Identity 0 (strangers) is left out: it is not one person.
    `with_distractors` adds the training identities. Raises `ConfigurationError` if the archive holds no such pictures.
    """
    archive, rules = open_archive(path), config or ReplayConfig()
    stays: defaultdict[tuple[int, int, int], list[_Picture]] = defaultdict(list)
    for picture in _pictures(archive):
        is_wanted = sequences is None or picture.sequence in sequences
        if is_wanted and picture.person > 0 and (with_distractors or picture.part != _TRAINING):
            stays[picture.person, picture.camera, picture.sequence].append(picture)
    if not stays:
        raise ConfigurationError(
            f"{archive.address} holds no test pictures{f' of sequences {sorted(sequences)}' if sequences else ''}; "
            "expected query/ and bounding_box_test/ with names such as 0002_c1s1_000451_03.jpg"
        )
    tracks = [track for _, stay in sorted(stays.items()) for track in _split(stay, rules.track_gap_s)]
    tracks.sort(key=lambda track: (track[0].at_s, track[0].name))
    found = [
        ReplayedTracklet(_tracklet(archive, piece, track_id, sequence, piece is pieces[-1], rules), track[0].person)
        for track_id, track in enumerate(tracks)
        for pieces in [_cut(track, rules.cut_every_s)]
        for sequence, piece in enumerate(pieces)
    ]
    return sorted(found, key=lambda seen: (seen.tracklet.ended_at, seen.tracklet.tracklet_id))


def embed_replay(replayed: Sequence[ReplayedTracklet], encoder: Encoder) -> Iterator[TrueTracklet]:
    """The same, as they reach a matcher, one by one."""
    for seen, embedding in zip(replayed, embed_tracklets((seen.tracklet for seen in replayed), encoder), strict=True):
        yield TrueTracklet(embedding, seen.true_id, seen.tracklet.sent_at)


def _pictures(archive: ImageArchive) -> Iterator[_Picture]:
    matches = [match for name in archive.names() if (match := _NAME.search(name))]
    starts = _starts_s([(int(match[3]), int(match[4]), int(match[5])) for match in matches])
    for match in matches:
        camera, sequence, frame = int(match[3]), int(match[4]), int(match[5])
        at_s = starts[camera, sequence] + frame / FRAMES_PER_S
        yield _Picture(match.string, match[1], int(match[2]), camera, sequence, at_s)


def _starts_s(seen: Sequence[tuple[int, int, int]]) -> dict[tuple[int, int], float]:
    """When each (camera, sequence) began: where the one before it ended, as far as its pictures tell."""
    lengths: defaultdict[tuple[int, int], int] = defaultdict(int)
    for camera, sequence, frame in seen:
        lengths[camera, sequence] = max(lengths[camera, sequence], frame)
    starts: dict[tuple[int, int], float] = {}
    ends: defaultdict[int, float] = defaultdict(float)
    for camera, sequence in sorted(lengths):
        starts[camera, sequence] = ends[camera] + _PAUSE_BEFORE_S.get((camera, sequence), 0.0)
        ends[camera] = starts[camera, sequence] + lengths[camera, sequence] / FRAMES_PER_S
    return starts


def _split(stay: Sequence[_Picture], gap_s: float) -> list[list[_Picture]]:
    """Tracks: in time order, divided where the person was unseen for longer than `gap_s`."""
    ordered = sorted(stay, key=lambda picture: (picture.at_s, picture.name))
    tracks = [[ordered[0]]]
    for before, after in pairwise(ordered):
        if after.at_s - before.at_s > gap_s:
            tracks.append([])
        tracks[-1].append(after)
    return tracks


def _cut(track: Sequence[_Picture], every_s: float) -> list[list[_Picture]]:
    """Pieces of at most `every_s` from their first picture."""
    pieces = [[track[0]]]
    for picture in track[1:]:
        if picture.at_s - pieces[-1][0].at_s > every_s:
            pieces.append([])
        pieces[-1].append(picture)
    return pieces


def _tracklet(
    archive: ImageArchive,
    piece: Sequence[_Picture],
    track_id: int,
    sequence: int,
    is_last: bool,
    config: ReplayConfig,
) -> TrackletCrops:
    step = max(1, -(-len(piece) // config.crops_per_tracklet))
    return TrackletCrops(
        camera_id=f"c{piece[0].camera}",
        boot_id=f"s{piece[0].sequence}",
        track_id=track_id,
        sequence=sequence,
        started_at=piece[0].at_s,
        ended_at=piece[-1].at_s,
        sent_at=piece[-1].at_s,
        detections=len(piece),
        is_last=is_last,
        crops=tuple(_crop(archive.read(picture.name), picture.at_s) for picture in piece[::step]),
    )


def _crop(jpeg: bytes, captured_at: float) -> Crop:
    """The names do not tell where in the frame the box was, nor how good it is."""
    width_px, height_px = jpeg_size(jpeg)
    return Crop(
        jpeg=jpeg,
        captured_at=captured_at,
        box_px=(0.0, 0.0, float(width_px), float(height_px)),
        frame_size_px=(width_px, height_px),
        score=1.0,
        sharpness=100.0,
        visibility=1.0,
    )

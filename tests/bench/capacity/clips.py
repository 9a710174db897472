"""Looped 1080p clips of a simulated site for the capacity bench: H.264 at 25 frames per second, with the true boxes.

Rendering takes minutes, so it is done once and kept in the machine's cache; a camera's own clip is that one begun at
another second, repacked without encoding anew, so that not all cameras see the same at the same moment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.truth import true_boxes
from pipeline.contracts import F32
from pipeline.runtimes.machine import cache_folder

FPS = 25
SIZE_PX = (1920, 1080)
_SEED, _PEOPLE, _BEGIN_S = 3, 40, 20.0
_LEAST_VISIBILITY = 0.3
# About 4 Mbit/s: what surveillance cameras send. No picture waits for a later one, and a key frame stands each second.
_ENCODING = {"preset": "veryfast", "tune": "zerolatency", "b": "4M", "sc_threshold": "0"}


@dataclass(frozen=True, slots=True)
class Clip:
    """A file, and the boxes (N, 4) of the people in each of its frames."""

    file: Path
    boxes: tuple[F32, ...]


def make_clips(folder: Path, count: int, seconds: int) -> list[Clip]:
    """`count` clips of `seconds` in `folder`, each begun at another second of the same scene."""
    base, boxes = _base(seconds)
    clips = []
    for number in range(count):
        first_s = number * 5 % seconds
        file = folder / f"camera{number}.mp4"
        _begun_at(base, file, first_s)
        turned = (*boxes[first_s * FPS :], *boxes[: first_s * FPS])
        clips.append(Clip(file, turned))
    return clips


def _base(seconds: int) -> tuple[Path, tuple[F32, ...]]:
    file = cache_folder() / "bench" / f"site{_SEED}-{_PEOPLE}-{SIZE_PX[0]}x{SIZE_PX[1]}-{seconds}s.mp4"
    notes = file.with_suffix(".json")
    if not notes.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        site = SimulatedSite(_SEED, cameras=2, people=_PEOPLE, size_px=SIZE_PX)
        _render(site, file, seconds)
        notes.write_text(json.dumps([_boxes(site, number) for number in range(seconds * FPS)]))
    return file, tuple(np.array(boxes, np.float32).reshape(-1, 4) for boxes in json.loads(notes.read_text()))


def _render(site: SimulatedSite, file: Path, seconds: int) -> None:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=_ENCODING)
        stream.width, stream.height, stream.pix_fmt = *SIZE_PX, "yuv420p"
        stream.codec_context.gop_size = FPS
        stream.codec_context.time_base = Fraction(1, FPS)
        for number in range(seconds * FPS):
            picture = av.VideoFrame.from_ndarray(site.render(0, _BEGIN_S + number / FPS), format="rgb24")
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _boxes(site: SimulatedSite, number: int) -> list[list[float]]:
    seen = true_boxes(site, 0, _BEGIN_S + number / FPS)
    return [list(map(float, box.box_px)) for box in seen if box.visibility >= _LEAST_VISIBILITY]


def _begun_at(base: Path, file: Path, first_s: int) -> None:
    """The same pictures from second `first_s` on, and those before it behind them."""
    with av.open(str(base)) as source, av.open(str(file), "w") as target:
        stream = source.streams.video[0]
        packets = [packet for packet in source.demux(stream) if packet.pts is not None]
        keys = [place for place, packet in enumerate(packets) if packet.is_keyframe]
        cut = keys[first_s]
        copied = target.add_stream_from_template(stream)
        step = round(1 / (FPS * stream.time_base))
        for number, packet in enumerate(packets[cut:] + packets[:cut]):
            packet.pts = packet.dts = number * step
            packet.stream = copied
            target.mux(packet)

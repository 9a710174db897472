"""A simulated site as videos with perfect ground truth: one H.264 file and one MOT file per camera, and people.json."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.truth import frame_times, transits, true_boxes
from pipeline.adapters.simulation.words import describe, true_queries

_DESCRIPTIONS = 3
_MIN_COUNTED_VISIBILITY = 0.25
_QUALITY = {"crf": "23", "preset": "veryfast"}


def write_videos(
    site: SimulatedSite,
    out_dir: Path,
    duration_s: float,
    *,
    fps: int = 10,
    since_s: float = 0.0,
    progress: Callable[[float], None] | None = None,
) -> list[Path]:
    """Write `camera0.mp4`, `gt_camera0.txt`, … and `people.json` for [since, since + duration) of the site's clock.

    Ground truth is MOT 2016: frame from 1, id, left, top, width, height, counted, class 1 (pedestrian), visibility.
    Boxes seen by less than a quarter are not counted (0 in column 7). `progress` hears shares from 0 to 1, from
    several threads. Returns the videos.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    times = frame_times(since_s, since_s + duration_s, fps)
    frames = count(1)  # its next number is safe among threads

    def written() -> None:
        done = next(frames)
        if progress:
            progress(done / (len(times) * len(site.views)))

    # Most of the work is the encoder's, outside of Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        cameras = range(len(site.views))
        videos = list(threads.map(lambda camera: _write_video(site, camera, out_dir, times, fps, written), cameras))
    (out_dir / "people.json").write_text(json.dumps(_account(site, since_s, duration_s, fps), indent=1))
    return videos


def _write_video(
    site: SimulatedSite, camera: int, out_dir: Path, times: Sequence[float], fps: int, written: Callable[[], None]
) -> Path:
    """What one camera sees, and who that is."""
    view, rows = site.views[camera], []
    path = out_dir / f"camera{camera}.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=_QUALITY)
        stream.width, stream.height, stream.pix_fmt = view.width_px, view.height_px, "yuv420p"
        # A key frame each second: who joins a live stream of this file sees it soon.
        stream.codec_context.gop_size = fps
        stream.codec_context.time_base = Fraction(1, fps)
        for number, time_s in enumerate(times):
            picture = av.VideoFrame.from_ndarray(site.render(camera, time_s), format="rgb24")
            picture.pts = number
            container.mux(stream.encode(picture))
            rows += _mot_rows(site, camera, time_s, number + 1)
            written()
        container.mux(stream.encode())
    (out_dir / f"gt_camera{camera}.txt").write_text("".join(rows))
    return path


def _mot_rows(site: SimulatedSite, camera: int, time_s: float, frame: int) -> list[str]:
    rows = []
    for box in true_boxes(site, camera, time_s):
        x1, y1, x2, y2 = box.box_px
        counted = int(box.visibility >= _MIN_COUNTED_VISIBILITY)
        rows.append(
            f"{frame},{box.person_id},{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},{counted},1,{box.visibility:.3f}\n"
        )
    return rows


def _account(site: SimulatedSite, since_s: float, duration_s: float, fps: int) -> dict[str, object]:
    """What people.json holds; seconds count from the first frame."""
    rng = np.random.default_rng([site.seed, 8])
    return {
        "seed": site.seed,
        "cameras": len(site.views),
        "fps": fps,
        "duration_s": duration_s,
        "people": [
            {
                "person_id": person.person_id,
                "descriptions": [describe(person, rng) for _ in range(_DESCRIPTIONS)],
                "attributes": person.attributes,
            }
            for person in site.people
        ],
        "queries": [
            {"sentence": query.sentence, "person_ids": sorted(query.person_ids)} for query in true_queries(site.people)
        ],
        "transits": [
            {
                "person_id": transit.person_id,
                "origin": transit.origin,
                "destination": transit.destination,
                "left_s": round(transit.left_s - since_s, 3),
                "arrived_s": round(transit.arrived_s - since_s, 3),
            }
            for transit in transits(site, since_s, since_s + duration_s)
        ],
    }

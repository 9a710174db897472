"""What one writes first: every camera in one loop, `YOLO.track`, an eager encoder for every crop, and a list of people.

`python -m tests.bench.capacity.naive_loop TASK.json RESULT.json` watches clips for a while at the pace of cameras. All
frames are read, as live streams demand, and every fifth is analysed. No weights of YOLO can be had offline: an
untrained yolo11n costs what a trained one costs, and since it finds nobody, the true boxes are what is embedded. That
leaves its tracker without work, which is to the loop's advantage.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from pipeline.interfaces import Encoder
from tests.bench.capacity.clips import FPS

ANALYSE_EVERY = 5  # frames: five a second
SIZE_PX = (384, 640)
_SAME_PERSON = 0.5
_HOPELESS_S = 5.0  # behind by more than this there is nothing left to learn


def main(task: Path, result: Path) -> None:
    """Watch `files` with their `boxes` for `seconds`; delays from a frame's due time to the identity of its people."""
    from pipeline.adapters.ultralytics_models import _ultralytics

    wanted = json.loads(task.read_text())
    models = [_ultralytics().YOLO(wanted["checkpoint"], task="detect", verbose=False) for _ in wanted["files"]]
    encoder = _eager_encoder()
    people: list[np.ndarray] = []
    videos = [cv2.VideoCapture(file) for file in wanted["files"]]
    boxes = [[np.array(frame, np.float32).reshape(-1, 4) for frame in clip] for clip in wanted["boxes"]]
    for model in models:  # the first call sets up
        model.track(np.zeros((1080, 1920, 3), np.uint8), persist=True, imgsz=SIZE_PX, verbose=False, device="cpu")
    encoder.embed_images([np.zeros((128, 64, 3), np.uint8)])
    delays_s: list[float] = []
    started_s, number, lag_s = time.perf_counter(), 0, 0.0
    while number < wanted["seconds"] * FPS and lag_s < _HOPELESS_S:
        due_s = started_s + number / FPS
        time.sleep(max(0.0, due_s - time.perf_counter()))
        for video, model, clip in zip(videos, models, boxes, strict=True):
            is_read, frame = video.read()
            if not is_read:
                video.set(cv2.CAP_PROP_POS_FRAMES, 0)
                is_read, frame = video.read()
            if number % ANALYSE_EVERY:
                continue
            model.track(frame, persist=True, imgsz=SIZE_PX, verbose=False, device="cpu")
            for x1, y1, x2, y2 in clip[number % len(clip)].astype(int):
                crop = frame[max(y1, 0) : y2, max(x1, 0) : x2, ::-1]
                if not crop.size:
                    continue
                vector = encoder.embed_images([np.ascontiguousarray(crop)]).appearance[0]
                known = [float(person @ vector) for person in people]
                if not known or max(known) < _SAME_PERSON:
                    people.append(vector)
                delays_s.append(time.perf_counter() - due_s)
        lag_s = time.perf_counter() - due_s
        number += 1
    lasted_s = number / FPS
    result.write_text(json.dumps({"delays_s": delays_s, "lasted_s": lasted_s, "fell_behind": lag_s >= _HOPELESS_S}))


def _eager_encoder() -> Encoder:
    """The shipped model on torch in float32."""
    from pipeline.runtimes.machine import usable_cores
    from pipeline.runtimes.runtime import RuntimeOptions
    from pipeline.runtimes.trial import Candidate
    from reid_models.manifest import DEFAULT_BUNDLE
    from reid_models.serving.opening import open_served

    return open_served(DEFAULT_BUNDLE, Candidate("torch", "fp32"), RuntimeOptions(threads=usable_cores()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Scenes to train a person detector on: videos labelled by other detectors, and the simulated site with its truth."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.truth import true_boxes
from pipeline.contracts import F32, CameraId, Detections, Frame, Image
from pipeline.errors import ConfigurationError
from pipeline.interfaces import Detector
from reid_models.detection.scenes import Scene
from reid_models.detection.teaching import TeachingConfig, agree
from services.detection import open_detector
from services.evaluation.tracking import read_video

log = logging.getLogger(__name__)

LONGEST_SIDE_PX = 640
_LEAST_VISIBILITY = 0.25  # of a simulated person that a detector should find; less is doubtful
_SIZES_PX = ((640, 360), (640, 480), (480, 360), (352, 288))


class SsdTeacher:
    """`Detector` of an SSD in OpenVINO's form, such as Intel's person-detection-retail-0013: BGR pixels in, rows of
    image, class, score and corners as shares of the picture out.
    """

    name = "ssd"

    def __init__(self, model: Path, threads: int = 1) -> None:
        import openvino

        network = openvino.Core().read_model(model)
        self._height_px, self._width_px = (network.input(0).shape[axis] for axis in (2, 3))
        self._network = openvino.Core().compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads})

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [self._detect(frame.image) for frame in frames]

    def _detect(self, image: Image) -> Detections:
        height, width = image.shape[:2]
        fitted = cv2.resize(image[..., ::-1], (self._width_px, self._height_px))
        rows = np.asarray(self._network(fitted.transpose(2, 0, 1)[None].astype(np.float32))[0]).reshape(-1, 7)
        rows = rows[rows[:, 0] >= 0]
        return Detections(rows[:, 3:] * np.array([width, height] * 2, np.float32), rows[:, 2])


def open_teacher(path: Path) -> Detector:
    """By the kind of file: `.xml` an SSD, `.onnx` YOLOX or YOLOv8, a folder what ultralytics exported."""
    return SsdTeacher(path) if path.suffix == ".xml" else open_detector("auto", path)


def taught_scene(
    name: str,
    images: Iterable[Image],
    teachers: Sequence[Detector],
    truth: Iterable[F32] | None = None,
    config: TeachingConfig | None = None,
) -> Scene:
    """Label frames by what the teachers agree on and by the true boxes (K, 4) of each frame, which need not be all."""
    frames, people, doubtful = [], [], []
    known = iter(truth) if truth is not None else None
    for number, image in enumerate(images):
        scale = min(1.0, LONGEST_SIDE_PX / max(image.shape[:2]))
        height, width = (round(side * scale) for side in image.shape[:2])
        frame = Frame(CameraId(name), image, 0.0, number)
        opinions = [teacher.detect([frame])[0] for teacher in teachers]
        sure, unsure = agree(opinions, config or TeachingConfig(), next(known) if known is not None else None)
        frames.append(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        people.append(sure * np.float32(scale))
        doubtful.append(unsure * np.float32(scale))
    log.info("%s: %d frames, %d people, %d doubts", name, len(frames), sum(map(len, people)), sum(map(len, doubtful)))
    return Scene(name, np.stack(frames).astype(np.uint8), tuple(people), tuple(doubtful))


def simulated_scene(seed: int, camera: int, frames: int, people: int, every_s: float = 7.3) -> Scene:
    """Moments of one camera of a simulated site; its frame size follows from the seed."""
    site = SimulatedSite(seed, camera + 1, people, _SIZES_PX[seed % len(_SIZES_PX)])
    images, sure, unsure = [], [], []
    for time_s in np.arange(frames) * every_s:
        images.append(site.render(camera, float(time_s)))
        boxes = true_boxes(site, camera, float(time_s))
        clear = [box.visibility >= _LEAST_VISIBILITY for box in boxes]
        sure.append(_boxes([box.box_px for box, is_clear in zip(boxes, clear, strict=True) if is_clear]))
        unsure.append(_boxes([box.box_px for box, is_clear in zip(boxes, clear, strict=True) if not is_clear]))
    return Scene(f"simulated-{seed}-{camera}", np.stack(images), tuple(sure), tuple(unsure))


def video_images(path: Path, every: int = 1) -> Iterator[Image]:
    """Each `every`-th frame of a video file."""
    return (frame.image for number, frame in enumerate(read_video(path)) if number % every == 0)


def zipped_images(frames: Path, boxes: Path) -> tuple[Iterator[Image], list[F32]]:
    """Frames of a zip with the boxes of each, listed as name, count, and lines that end in left, top, width, height.

    Raises `ConfigurationError` for files that cannot be read, or do not belong together.
    """
    try:
        archive = zipfile.ZipFile(frames)
        members = {Path(member).name: member for member in archive.namelist()}
        listed = _listed_boxes(boxes.read_text(encoding="utf-8").splitlines())
        found = {members[name]: rows for name, rows in listed.items()}
    except (OSError, zipfile.BadZipFile, ValueError, StopIteration, KeyError) as error:
        raise ConfigurationError(
            f"{frames} and {boxes} cannot be read together ({type(error).__name__}: {error}); expected a zip of frames "
            "and a text with a name, a count and that many boxes for each of them"
        ) from error
    names = sorted(found)
    return (_decoded(archive.read(name)) for name in names), [found[name] for name in names]


def _listed_boxes(lines: Sequence[str]) -> dict[str, F32]:
    """By name of the frame; raises `ValueError` or `StopIteration` for a text of another form."""
    left = iter(lines)
    found: dict[str, F32] = {}
    for name in left:
        rows = _boxes([[float(field) for field in next(left).split()[-4:]] for _ in range(int(next(left)))])
        rows[:, 2:] += rows[:, :2]
        found[name] = rows
    return found


def _decoded(data: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ConfigurationError("a frame of the zip is no image; expected JPEG or PNG: copy the file again")
    return np.asarray(image, np.uint8)


def _boxes(rows: Sequence[Sequence[float]]) -> F32:
    return np.array(rows, np.float32).reshape(-1, 4)

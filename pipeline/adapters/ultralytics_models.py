"""Ultralytics' detectors and trackers behind our seams. Ultralytics is licensed AGPL-3.0 and an extra."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
from PIL import Image

from pipeline import torchvision_cpu
from pipeline.contracts import Detections, Frame, Tracks
from pipeline.contracts import Image as Pixels
from pipeline.errors import ConfigurationError

_PERSON = 0  # class of COCO
# Detectors that Ultralytics publishes, trained on COCO; the names of those for other tasks end otherwise.
_OWN_WEIGHTS = re.compile(r"yolo(v\d{1,2}|\d{1,2})([ntsmblcex])6?u?\.pt")


@dataclass(frozen=True, slots=True)
class UltralyticsDetectorConfig:
    """How a checkpoint is run."""

    min_score: float = 0.1  # low on purpose: the tracker makes use of uncertain boxes
    max_overlap: float = 0.7
    threads: int = 1
    device: str | None = None  # as Ultralytics names it; default: the first GPU, else the CPU


class UltralyticsDetector:
    """Any YOLO checkpoint or exported folder that Ultralytics reads.

    Raises `ConfigurationError` where the extra or the file is missing, or the file is no detector.
    """

    def __init__(self, model: Path, config: UltralyticsDetectorConfig | None = None) -> None:
        self._config = config or UltralyticsDetectorConfig()
        if not model.exists():
            raise ConfigurationError(f"there is no model {model}; expected a YOLO checkpoint or an exported folder")
        ultralytics = _ultralytics()
        _limit_threads(self._config.threads)
        try:
            self._model = ultralytics.YOLO(str(model), task="detect", verbose=False)
            # An exported network is read only when it is first used.
            self._predict([np.zeros((64, 64, 3), np.uint8)])
        except Exception as error:  # what it raises depends on the kind of file
            raise ConfigurationError(f"{model} cannot be read by ultralytics ({error}); expected a detector") from error
        self._name = f"ultralytics:{model.stem}"

    @property
    def name(self) -> str:
        return self._name

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        # Ultralytics takes pictures as OpenCV reads them: blue first.
        return self._predict([np.ascontiguousarray(frame.image[..., ::-1]) for frame in frames])

    def _predict(self, images: list[np.ndarray[Any, np.dtype[np.uint8]]]) -> list[Detections]:
        if not images:
            return []
        results = self._model.predict(
            images,
            conf=self._config.min_score,
            iou=self._config.max_overlap,
            classes=[_PERSON],
            device=self._config.device,
            verbose=False,
        )
        return [
            Detections(
                result.boxes.xyxy.cpu().numpy().astype(np.float32).reshape(-1, 4),
                result.boxes.conf.cpu().numpy().astype(np.float32).reshape(-1),
            )
            for result in results
        ]


class UltralyticsTracker:
    """Ultralytics' BoT-SORT or ByteTrack with its own defaults; cameras are static, so no motion compensation."""

    def __init__(self, kind: Literal["botsort", "bytetrack"] = "botsort") -> None:
        _ultralytics()
        from ultralytics.engine.results import Boxes
        from ultralytics.trackers import BOTSORT, BYTETracker
        from ultralytics.utils import ROOT, YAML

        # The library is only partly annotated.
        load: Any = YAML.load
        kinds: dict[str, Any] = {"botsort": BOTSORT, "bytetrack": BYTETracker}
        settings = load(ROOT / f"cfg/trackers/{kind}.yaml") | {"gmc_method": "none", "with_reid": False}
        self._tracker = kinds[kind](SimpleNamespace(**settings))
        # Numbers are counted for the whole process over there; here each tracker has its own.
        self._numbers: dict[int, int] = {}
        self._boxes = Boxes

    def update(
        self,
        detections: Detections,
        captured_at: float,  # noqa: ARG002 — the seam's
        image: Pixels | None = None,  # noqa: ARG002 — the seam's
    ) -> Tracks:
        """Advance by one frame; this tracker counts frames and knows no time."""
        columns = np.column_stack([detections.boxes, detections.scores, np.zeros(len(detections))]).astype(np.float32)
        # The picture is only looked at for motion compensation; its size here only has to hold all boxes.
        found = np.asarray(self._tracker.update(self._boxes(columns, (1, 1)), _BLANK)).reshape(-1, 8)
        track_ids = [self._numbers.setdefault(int(number), len(self._numbers) + 1) for number in found[:, 4]]
        return Tracks(np.array(track_ids, np.int64), found[:, :4].astype(np.float32), found[:, 5].astype(np.float32))


_BLANK = np.zeros((1, 1, 3), np.uint8)


def export_onnx(checkpoint: Path, folder: Path, size_px: tuple[int, int] | None = None) -> Path:
    """A checkpoint as an ONNX file in `folder`, for pictures of (height, width) `size_px`.

    A checkpoint is unpickled and may run code: import only files that you trust. Raises `ConfigurationError`.
    """
    ultralytics = _ultralytics()
    copy = folder / checkpoint.name  # the export is written beside its source
    shutil.copyfile(checkpoint, copy)
    try:
        model = ultralytics.YOLO(str(copy), verbose=False)
        options = {} if size_px is None else {"imgsz": size_px}
        with warnings.catch_warnings():
            # Tracing warns of branches that it makes constant; whoever makes warnings errors would see it fail.
            warnings.simplefilter("ignore")
            return Path(model.export(format="onnx", simplify=False, verbose=False, **options))
    except Exception as error:  # what it raises depends on the kind of file
        raise ConfigurationError(
            f"{checkpoint} cannot be exported by ultralytics ({error}); expected a YOLO checkpoint for detection"
        ) from error


def present_weights(folders: Iterable[Path]) -> Path | None:
    """Ultralytics' own weights, where the extra is installed: the smallest file in `folders` or in its weights folder.

    Nothing is imported and nothing downloaded.
    """
    if importlib.util.find_spec("ultralytics") is None:
        return None
    found = {
        file
        for folder in (*folders, *_weights_folder())
        if folder.is_dir()
        for file in folder.iterdir()
        if _OWN_WEIGHTS.fullmatch(file.name) and file.is_file()
    }
    return min(found, key=lambda file: (file.stat().st_size, file.name, str(file)), default=None)


def _weights_folder() -> list[Path]:
    """As the library's own settings name it, if it was ever used here."""
    try:
        place = os.environ.get("YOLO_CONFIG_DIR") or Path.home() / ".config" / "Ultralytics"
        settings = json.loads((Path(place) / "settings.json").read_text(encoding="utf-8"))
        return [Path(settings["weights_dir"])]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):  # the last: a user without a home
        return []


def _ultralytics() -> Any:
    """The library, which is told first to install and to download nothing."""
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    torchvision_cpu.install()
    opens_pictures = Image.open
    try:
        import ultralytics
        import ultralytics.utils.patches
    except ImportError as error:
        raise ConfigurationError(
            f"ultralytics is not installed ({error}); install it with `pip install 'sightline[ultralytics]'` "
            "(AGPL-3.0), or use the detector `onnx` and the tracker `bytetrack`"
        ) from error
    # It puts a function of its own in the place of Pillow's, which fails for unreadable pictures in the whole process.
    Image.open = opens_pictures
    return ultralytics


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)

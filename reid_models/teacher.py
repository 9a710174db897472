"""A network that others trained, as a teacher: its features of training images, computed once and kept in a file.

The teacher is an OpenVINO or ONNX file that takes (1, 3, H, W) pixels from 0 to 255. It is a tool of the
laboratory: nothing that runs later needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from pipeline.contracts import F32
from pipeline.errors import ConfigurationError
from reid_models.datasets.training_sets import U8


@dataclass(frozen=True, slots=True)
class TeacherFormat:
    """How pixels become the teacher's input."""

    height_px: int = 256
    width_px: int = 128
    channels: Literal["bgr", "rgb"] = "bgr"


class Teacher:
    """Needs the extra `[openvino]`."""

    def __init__(self, path: Path, picture: TeacherFormat | None = None, threads: int = 0) -> None:
        """`threads` 0: all cores. Raises `ConfigurationError` for a file that is no such network."""
        try:
            import openvino
        except ImportError as error:
            raise ConfigurationError("a teacher needs OpenVINO; install sightline[openvino]") from error
        self._format = picture or TeacherFormat()
        core = openvino.Core()
        shape = [1, 3, self._format.height_px, self._format.width_px]
        try:
            network = core.read_model(path)
            network.reshape(shape)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ConfigurationError(f"{path} is no network for pictures of shape {shape}: {reason}") from error
        self._network = core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads} if threads else {})

    def features(self, images: U8) -> F32:
        """(N, H, W, 3) RGB of any size → (N, D) unit vectors."""
        size = (self._format.width_px, self._format.height_px)
        found = []
        for image in images:
            pixels = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_LINEAR)
            ordered = pixels[..., ::-1] if self._format.channels == "bgr" else pixels
            batch = np.ascontiguousarray(ordered.transpose(2, 0, 1)[None], np.float32)
            found.append(np.asarray(self._network(batch)[0]).reshape(-1))
        vectors = np.stack(found)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

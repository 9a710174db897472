"""The network as an ONNX file in YOLOX's layout, which every runtime and the running system read."""

from __future__ import annotations

import copy
import io
import math
import warnings

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigurationError
from reid_models.detection.backgrounds import Size
from reid_models.detection.network import SIZE_MULTIPLE_PX, STRIDES, PersonDetector

INPUT, OUTPUT = "pixels", "cells"
_OPSET = 17


class ExportedDetector(nn.Module):
    """(B, 3, H, W) BGR of 0 to 255 → (B, N, 6): boxes as the network gives them, score, and 1 for its only class.

    Scores are moved on the logit's axis such that `sure_score` becomes one half: whoever takes boxes above 0.5 runs the
    detector where its F1 is best.
    """

    def __init__(self, network: PersonDetector, sure_score: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        with torch.no_grad():
            # Instead of a division of every pixel, which the first convolution does as well.
            self.network.get_parameter("stem.0.weight").div_(255)
            for level in range(len(STRIDES)):
                self.network.get_parameter(f"heads.{level}.score.1.bias").sub_(math.log(sure_score / (1 - sure_score)))

    def forward(self, pixels: Tensor) -> Tensor:
        cells = self.network.of_shares(pixels)
        score = cells[..., 4:].sigmoid()
        return torch.cat([cells[..., :4], score, torch.ones_like(score)], dim=2)


def exported(network: PersonDetector, sure_score: float, size: Size) -> bytes:
    """ONNX for pictures of `size` (height, width), any number at once. Raises `ConfigurationError` for other sizes than
    multiples of 32.
    """
    if size[0] % SIZE_MULTIPLE_PX or size[1] % SIZE_MULTIPLE_PX or min(size) <= 0:
        raise ConfigurationError(f"input of {size[0]}x{size[1]} pixels; expected multiples of {SIZE_MULTIPLE_PX}")
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter by tracing is deprecated, but the one that follows it needs onnxscript and is slower by far.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            ExportedDetector(network, sure_score).eval(),
            (torch.zeros(2, 3, *size),),
            file,  # type: ignore[arg-type]  # the exporter by tracing takes open files, its annotation names paths alone
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "pictures"}, OUTPUT: {0: "pictures"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    return file.getvalue()

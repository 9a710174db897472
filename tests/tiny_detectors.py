"""Detectors in miniature as ONNX files: wherever a cell of the coarsest grid is red, there stands a person."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.camera.yolo import YOLOX_LAYOUTS, Layout
from pipeline.contracts import CameraId, Frame

HEIGHT_PX, WIDTH_PX = 128, 192
_STRIDES = (8, 16, 32)


class RedCells(nn.Module):
    """The output of one layout; the last class is the person."""

    def __init__(self, layout: Layout, classes: int) -> None:
        super().__init__()
        self.layout, self.classes = layout, classes

    def forward(self, pixels: Tensor) -> Tensor:
        is_yolox = self.layout in YOLOX_LAYOUTS
        pixels = pixels / 255 if is_yolox else pixels
        red, green = (pixels[:, 2:] if is_yolox else pixels[:, :1]), pixels[:, 1:2]
        rows = []
        for stride in _STRIDES:
            height, width = HEIGHT_PX // stride, WIDTH_PX // stride
            redness = functional.avg_pool2d((red - green).clamp(min=0), stride).flatten(2).transpose(1, 2)
            score = redness * (1.0 if stride == _STRIDES[-1] else 0.05)
            y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
            corner = torch.stack([x.flatten(), y.flatten()], dim=1)[None].float()
            ones = torch.ones_like(score)
            if self.layout is Layout.YOLOX:
                box = torch.cat([ones * 0.5, ones * 0.5, ones * 0, ones * 0], dim=2)
            elif self.layout is Layout.END_TO_END:
                low = corner * stride * ones
                box = torch.cat([low, low + stride], dim=2)
            else:
                box = torch.cat([(corner + 0.5) * stride * ones, ones * stride, ones * stride], dim=2)
            others = [ones * 0] * (self.classes - 1)
            if self.layout is Layout.END_TO_END:
                columns = [box, score, ones * (self.classes - 1)]
            elif self.layout is Layout.YOLOV8:
                columns = [box, *others, score]
            else:
                columns = [box, ones, *others, score]
            rows.append(torch.cat(columns, dim=2))
        output = torch.cat(rows, dim=1)
        if self.layout is Layout.YOLOV5:
            return torch.cat([output, output * 0, output * 0], dim=1)
        if self.layout is Layout.END_TO_END:
            return output[:, -24:]  # the coarsest grid
        return output.transpose(1, 2) if self.layout is Layout.YOLOV8 else output


def write_detector(file: Path, layout: Layout = Layout.YOLOX, classes: int = 1, has_open_batch: bool = True) -> Path:
    """An ONNX file of `RedCells`."""
    picture = torch.zeros(1, 3, HEIGHT_PX, WIDTH_PX)
    axes = {"images": {0: "batch"}, "output": {0: "batch"}} if has_open_batch else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter by tracing is deprecated, and the other takes half a minute
        torch.onnx.export(
            RedCells(layout, classes).eval(),
            (picture,),
            str(file),
            input_names=["images"],
            output_names=["output"],
            dynamic_axes=axes,
            dynamo=False,
            opset_version=17,
        )
    return file


def red_square(column: int, row: int, camera_id: str = "yard") -> Frame:
    """A grey picture of twice the detector's size, with one cell of its coarsest grid in red."""
    image = np.full((2 * HEIGHT_PX, 2 * WIDTH_PX, 3), 90, np.uint8)
    image[row * 64 : (row + 1) * 64, column * 64 : (column + 1) * 64] = (250, 10, 10)
    return Frame(CameraId(camera_id), image, 0.0, 0)

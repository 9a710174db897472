"""The network: plain 3x3 convolutions, three grids of cells, one class.

Anchor-free with a decoupled head, as YOLOX (Ge et al. 2021, section 2), but without its objectness: one score says how
well the best box of a cell fits a person. Plain convolutions and ReLU, because both are what CPU runtimes fuse best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
SIZE_MULTIPLE_PX = STRIDES[-1]
_PRIOR = 0.01  # score of an untrained network: nearly all cells show no person (Lin et al. 2017, section 4.1)


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Channels at strides 2, 4, 8, 16 and 32, blocks of the last four, channels of neck and head."""

    channels: tuple[int, int, int, int, int] = (16, 24, 48, 96, 160)
    blocks: tuple[int, int, int, int] = (1, 2, 2, 2)
    neck: int = 48


class PersonDetector(nn.Module):
    """(B, 3, H, W) BGR pixels of 0 to 255 → (B, N, 5): for each cell its box and the logit of its score.

    H and W are multiples of 32; N counts the cells of the grids of stride 8, 16 and 32, row by row. A box is the centre
    relative to the cell's corner and the logarithm of its size, in units of the stride.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        channels, neck = self.config.channels, self.config.neck
        self.stem = _convolution(3, channels[0], stride=2)
        self.levels = nn.ModuleList(
            nn.Sequential(_convolution(before, after, stride=2), _Stage(after, blocks))
            for before, after, blocks in zip(channels, channels[1:], self.config.blocks, strict=False)
        )
        self.laterals = nn.ModuleList(_convolution(width, neck, size=1) for width in channels[2:])
        self.down_mixes = nn.ModuleList(_convolution(neck, neck) for _ in STRIDES[1:])
        self.reductions = nn.ModuleList(_convolution(neck, neck, stride=2) for _ in STRIDES[1:])
        self.up_mixes = nn.ModuleList(_convolution(neck, neck) for _ in STRIDES[1:])
        self.heads = nn.ModuleList(_Head(neck) for _ in STRIDES)
        for parameter in self.parameters():
            if parameter.ndim == 4:  # the layout in which a CPU's or GPU's matrix units convolve
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.of_shares(pixels / 255)

    def of_shares(self, brightness: Tensor) -> Tensor:
        """The same for pixels of 0 to 1."""
        features = self.stem(brightness)
        pyramid = []
        for level in self.levels:
            features = level(features)
            pyramid.append(features)
        fine, middle, coarse = (lateral(level) for lateral, level in zip(self.laterals, pyramid[1:], strict=True))
        middle = self.down_mixes[0](middle + functional.interpolate(coarse, scale_factor=2.0))
        fine = self.down_mixes[1](fine + functional.interpolate(middle, scale_factor=2.0))
        middle = self.up_mixes[0](middle + self.reductions[0](fine))
        coarse = self.up_mixes[1](coarse + self.reductions[1](middle))
        outputs = [head(level) for head, level in zip(self.heads, (fine, middle, coarse), strict=True)]
        return torch.cat([output.flatten(2) for output in outputs], dim=2).transpose(1, 2)


class _Stage(nn.Module):
    """Residual blocks on half of the channels; the other half goes past them (Wang et al. 2020, CSPNet)."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        half = width // 2
        self.past = _convolution(width, half, size=1)
        self.into = _convolution(width, half, size=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(_convolution(half, half), _convolution(half, half)) for _ in range(blocks)
        )
        self.join = _convolution(width, width, size=1)

    def forward(self, features: Tensor) -> Tensor:
        changed = self.into(features)
        for block in self.blocks:
            changed = changed + block(changed)
        joined: Tensor = self.join(torch.cat([changed, self.past(features)], dim=1))
        return joined


class _Head(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.box = nn.Sequential(_convolution(width, width), nn.Conv2d(width, 4, 1))
        score = nn.Conv2d(width, 1, 1)
        assert score.bias is not None
        nn.init.constant_(score.bias, math.log(_PRIOR / (1 - _PRIOR)))
        self.score = nn.Sequential(_convolution(width, width), score)

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([self.box(features), self.score(features)], dim=1)


def _convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs, momentum=0.03),
        nn.ReLU(inplace=True),
    )

"""Light image towers, registered with timm so that an open_clip configuration can name them.

A tower is a plain residual CNN: for small person crops trained from scratch it is far ahead of a ViT, and its 3x3
convolutions with 64 and more channels use a CPU's matrix units well, which depthwise convolutions do not.
"""

from __future__ import annotations

import itertools
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline.torch_compiler import compiler_put_off
from pipeline.torchvision_cpu import install
from reid_models.neck import pool_generalised_mean

with compiler_put_off():
    install()
    from timm.models import register_model


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, the basic block)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, image: Tensor) -> Tensor:
        hidden = functional.relu(self.norm1(self.conv1(image)), inplace=True)
        return functional.relu(self.norm2(self.conv2(hidden)) + self.shortcut(image), inplace=True)


class StripPooling(nn.Module):
    """A map as one vector: a projection of its generalised mean over all places, then one for each horizontal strip.

    What is worn above and what below stays apart (Sun et al. 2018, the part-based baseline, with its whole beside it).
    """

    def __init__(self, channels: int, whole_width: int, strips: int, strip_width: int) -> None:
        super().__init__()
        self.widths = (whole_width, *[strip_width] * strips)
        self.projections = nn.ModuleList(nn.Linear(channels, width, bias=False) for width in self.widths)

    def forward(self, places: Tensor) -> Tensor:
        """(B, D, H, W) → (B, sum of `widths`)."""
        rows, strips = int(places.shape[2]), len(self.widths) - 1  # a number: while it is traced, a tensor
        edges = [round(rows * strip / strips) for strip in range(strips + 1)]
        # A map with fewer rows than strips lets neighbours see the same row.
        parts = [places] + [
            places[:, :, min(start, rows - 1) : max(end, start + 1)] for start, end in itertools.pairwise(edges)
        ]
        pooled = [pool_generalised_mean(part) for part in parts]
        return torch.cat([project(part) for project, part in zip(self.projections, pooled, strict=True)], dim=1)


class PersonCnn(nn.Module):
    """Residual CNN with generalised-mean pooling; any input size of at least 32x32.

    The last stage keeps its resolution (stride 1), as is usual in re-identification: 128x64 gives an 8x4 map.
    `strip_pooling` (width for the whole, number of strips, width for each) pools by `StripPooling` instead.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        depths: tuple[int, ...],
        stem_channels: int,
        strip_pooling: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        self.default_cfg: dict[str, Any] = {}  # read by open_clip's timm adapter
        self.strips = None if strip_pooling is None else StripPooling(channels[-1], *strip_pooling)
        self.num_features = channels[-1] if self.strips is None else sum(self.strips.widths)
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem_channels, 3, 2, 1, bias=False), nn.BatchNorm2d(stem_channels), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        channels_in = stem_channels
        for stage, (width, depth) in enumerate(zip(channels, depths, strict=True)):
            for position in range(depth):
                stride = 2 if position == 0 and stage < len(channels) - 1 else 1
                blocks.append(ResidualBlock(channels_in, width, stride))
                channels_in = width
        self.blocks = nn.Sequential(*blocks)
        self._last_stage = len(blocks) - depths[-1]  # the place of its first block
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                nn.init.zeros_(module.norm2.weight)  # a block starts as its shortcut (Goyal et al. 2017)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) → pooled features (B, D), D = `num_features`."""
        return self.pool(self.maps(image)[1])

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) → the maps before and behind the last stage."""
        hidden = before = self.stem(image)
        for place, block in enumerate(self.blocks):
            if place == self._last_stage:
                before = hidden
            hidden = block(hidden)
        return before, hidden

    def pool(self, places: Tensor) -> Tensor:
        """The map behind the last stage → (B, D)."""
        pooled: Tensor = pool_generalised_mean(places) if self.strips is None else self.strips(places)
        return pooled

    @property
    def part_widths(self) -> tuple[int, ...]:
        """How the pooled features divide: the whole, then the strips from top to bottom."""
        return (self.num_features,) if self.strips is None else self.strips.widths

    def reset_classifier(self, num_classes: int, **_: Any) -> None:
        """Part of timm's model interface; this tower has no classifier and one way of pooling."""
        if num_classes:
            raise ValueError(f"num_classes is {num_classes}; this tower has no classifier, use timm_proj='linear'")


@register_model
def person_cnn_small(**_: Any) -> PersonCnn:
    """7.7 M parameters, 0.28 G multiply-adds at 112x56, 384 features."""
    return PersonCnn(channels=(64, 128, 256, 384), depths=(2, 2, 2, 2), stem_channels=32)


@register_model
def person_cnn_strips(**_: Any) -> PersonCnn:
    """`person_cnn_small` with four strips: 7.9 M parameters, 512 features, 256 of the whole and 64 of each strip."""
    return PersonCnn((64, 128, 256, 384), (2, 2, 2, 2), 32, strip_pooling=(256, 4, 64))


@register_model
def person_cnn_light(**_: Any) -> PersonCnn:
    """2.8 M parameters, 0.10 G multiply-adds at 112x56, 256 features: for experiments on a CPU."""
    return PersonCnn(channels=(32, 64, 128, 256), depths=(2, 2, 2, 2), stem_channels=32)


@register_model
def person_cnn_nano(**_: Any) -> PersonCnn:
    """0.9 M parameters, 0.011 G multiply-adds at 64x32, 128 features: for experiments from scratch on a CPU."""
    return PersonCnn(channels=(32, 64, 128, 128), depths=(1, 1, 2, 1), stem_channels=32)


@register_model
def person_cnn_tiny_strips(**_: Any) -> PersonCnn:
    """The tiny one with strips: 48 features."""
    return PersonCnn(channels=(16, 32, 64), depths=(1, 1, 1), stem_channels=8, strip_pooling=(24, 2, 12))


@register_model
def person_cnn_tiny(**_: Any) -> PersonCnn:
    """0.1 M parameters, 64 features: for tests and quick trials."""
    return PersonCnn(channels=(16, 32, 64), depths=(1, 1, 1), stem_channels=8)


def fold_batch_norms(tower: nn.Module) -> None:
    """For inference only: every batch normalisation behind a convolution of a `PersonCnn` becomes part of it."""
    for module in tower.modules():
        if isinstance(module, PersonCnn):
            _fold(module.stem, "0", "1")
        if isinstance(module, ResidualBlock):
            _fold(module, "conv1", "norm1")
            _fold(module, "conv2", "norm2")
            if isinstance(module.shortcut, nn.Sequential):
                _fold(module.shortcut, "0", "1")


def _fold(parent: nn.Module, convolution: str, norm: str) -> None:
    layers = dict(parent.named_children())
    if isinstance(layers[norm], nn.Identity):
        return
    setattr(
        parent, convolution, fuse_conv_bn_eval(cast(nn.Conv2d, layers[convolution]), cast(nn.BatchNorm2d, layers[norm]))
    )
    setattr(parent, norm, nn.Identity())

"""Boxes x1, y1, x2, y2 in pixels as tensors: from the network's outputs, and how they overlap."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from reid_models.detection.network import STRIDES

_LARGEST_LOG_SIZE = 6.0  # e^6 cells: no picture is larger, and an untrained network must not overflow


@lru_cache(maxsize=16)
def cells(height_px: int, width_px: int) -> tuple[Tensor, Tensor]:
    """Corner (N, 2) in pixels, x first, and stride (N, 1) of every cell, in the order of the network's output."""
    corners, strides = [], []
    for stride in STRIDES:
        rows, columns = torch.meshgrid(
            torch.arange(height_px // stride), torch.arange(width_px // stride), indexing="ij"
        )
        corners.append(torch.stack([columns.flatten(), rows.flatten()], dim=1) * stride)
        strides.append(torch.full((rows.numel(), 1), stride))
    return torch.cat(corners).float(), torch.cat(strides).float()


def decode(outputs: Tensor, height_px: int, width_px: int) -> Tensor:
    """The network's (B, N, 4 or more) for a picture of this size → boxes (B, N, 4)."""
    corners, strides = (values.to(outputs.device) for values in cells(height_px, width_px))
    centre = corners + outputs[..., :2] * strides
    half = outputs[..., 2:4].clamp(max=_LARGEST_LOG_SIZE).exp() * strides / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def pairwise_overlaps(first: Tensor, second: Tensor) -> Tensor:
    """(..., N, 4), (..., M, 4) → (..., N, M) intersection over union."""
    first, second = first.unsqueeze(-2), second.unsqueeze(-3)
    low, high = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    return shared / (_tensor_areas(first) + _tensor_areas(second) - shared).clamp(min=1e-9)


def generalised_overlap(first: Tensor, second: Tensor) -> Tensor:
    """(K, 4), (K, 4) → (K,) from -1 to 1: the overlap less the empty share of the box around both.

    Rezatofighi et al. 2019, "Generalized Intersection over Union", algorithm 1.
    """
    low, high = torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    union = _tensor_areas(first) + _tensor_areas(second) - shared
    low, high = torch.minimum(first[:, :2], second[:, :2]), torch.maximum(first[:, 2:], second[:, 2:])
    around = (high - low).prod(1).clamp(min=1e-9)
    return shared / union.clamp(min=1e-9) - (around - union) / around


def _tensor_areas(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)

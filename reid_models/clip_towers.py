"""What person images need of open_clip's image towers: other sizes and strides, and the features on the way.

Written for open_clip 3.3, whose towers have no public way to some of these; the release is pinned below 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ConfigurationError
from pipeline.torchvision_cpu import install
from reid_models.towers import PersonCnn

install()

from open_clip.modified_resnet import ModifiedResNet  # noqa: E402  (torchvision must be importable first)
from open_clip.timm_model import TimmModel  # noqa: E402
from open_clip.transformer import VisionTransformer  # noqa: E402

Pooling = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class TowerFeatures:
    """One forward pass of an image tower."""

    penultimate: Tensor  # (B, Q)
    pooled: Tensor  # (B, P)
    language: Tensor  # (B, L)


def pooled_width(visual: Any) -> int:
    """Number of pooled features of an open_clip image tower, before the projection."""
    if isinstance(visual, TimmModel):
        return int(visual.trunk.num_features)
    if isinstance(visual, ModifiedResNet):
        return int(visual.attnpool.c_proj.in_features)
    return int(visual.proj.shape[0])


def ends_in_map(visual: Any) -> bool:
    """Whether the pooling of the tower's last map can be chosen."""
    if isinstance(visual, TimmModel) and isinstance(visual.trunk, PersonCnn):
        return visual.trunk.strips is None
    return isinstance(visual, ModifiedResNet)


def part_widths(visual: Any) -> tuple[int, ...]:
    """How the pooled features divide, in their order: the whole image's, then those of each strip, if there are any."""
    if isinstance(visual, TimmModel) and isinstance(visual.trunk, PersonCnn):
        return visual.trunk.part_widths
    return (pooled_width(visual),)


def image_size_of(visual: Any) -> tuple[int, int]:
    """(height, width) in pixels of the images that a tower takes; a ResNet of open_clip knows only squares at first."""
    height, width = (visual.image_size,) * 2 if isinstance(visual.image_size, int) else visual.image_size
    return int(height), int(width)


def tower_features(
    visual: Any, images: Tensor, pooling: Pooling | None = None, camera_vectors: Tensor | None = None
) -> TowerFeatures:
    """All features of `images` (B, 3, H, W) from one pass.

    `pooling` takes the place of the tower's own where the tower ends in a map; `camera_vectors` (B, width) are added to
    the class token of a ViT.
    """
    if isinstance(visual, VisionTransformer):
        return _vit_features(visual, images, camera_vectors)
    if isinstance(visual, ModifiedResNet):
        return _resnet_features(visual, images, pooling)
    if isinstance(visual.trunk, PersonCnn):
        return _person_cnn_features(visual, images, pooling)
    last, (before, *_) = visual.trunk.forward_intermediates(images, indices=2)
    pooled = visual.trunk.forward_head(last)
    return TowerFeatures(before.mean(dim=(2, 3)), pooled, visual.head(pooled))


def _vit_features(visual: Any, images: Tensor, camera_vectors: Tensor | None) -> TowerFeatures:
    """Penultimate: the class token behind the last block but one. Pooled: that of the last behind `ln_post`."""
    blocks = visual.transformer.resblocks
    tokens = visual._embeds(images) if camera_vectors is None else _tokens_with_camera(visual, images, camera_vectors)
    tokens, (before,) = visual.transformer.forward_intermediates(tokens, indices=[max(len(blocks) - 2, 0)])
    pooled, _ = visual._pool(tokens)
    return TowerFeatures(before[:, 0], pooled, pooled @ visual.proj)


def _tokens_with_camera(visual: Any, images: Tensor, camera_vectors: Tensor) -> Tensor:
    """Side information embedding (He et al. 2021) as in CLIP-ReID: on the class token, before its position."""
    patches = visual.conv1(images).flatten(2).transpose(1, 2)
    first = (visual.class_embedding + camera_vectors).to(patches.dtype)
    tokens = torch.cat([first[:, None], patches], dim=1) + visual.positional_embedding.to(patches.dtype)
    embedded: Tensor = visual.ln_pre(visual.patch_dropout(tokens))
    return embedded


def _resnet_features(visual: Any, images: Tensor, pooling: Pooling | None) -> TowerFeatures:
    before = visual.layer3(visual.layer2(visual.layer1(visual.stem(images))))
    places = visual.layer4(before)
    pooled = places.mean(dim=(2, 3)) if pooling is None else pooling(places)
    return TowerFeatures(before.mean(dim=(2, 3)), pooled, visual.attnpool(places))


def _person_cnn_features(visual: Any, images: Tensor, pooling: Pooling | None) -> TowerFeatures:
    before, places = visual.trunk.maps(images)
    pooled = visual.trunk.pool(places) if pooling is None else pooling(places)
    return TowerFeatures(before.mean(dim=(2, 3)), pooled, visual.head(pooled))


def resize_tower(visual: Any, image_size: tuple[int, int], stride: int | None = None) -> None:
    """Make a tower take images of (height, width) `image_size`; its positions are interpolated bilinearly.

    `stride` is the distance in pixels between neighbouring tokens of a ViT (any, at most the patch for full cover: less
    makes patches overlap) or places of a ResNet's last map (32, or 16, which is `layer4` without stride); None keeps
    it. Raises `ConfigurationError` where the tower cannot.
    """
    if isinstance(visual, VisionTransformer):
        _resize_vit(visual, image_size, stride)
    elif isinstance(visual, ModifiedResNet):
        _resize_resnet(visual, image_size, stride)
    elif stride is not None:
        raise ConfigurationError(f"stride is {stride}, but a timm tower has its own; leave the stride out")
    else:
        visual.set_input_size(image_size)


def _resize_vit(visual: Any, image_size: tuple[int, int], stride: int | None) -> None:
    patch_height, patch_width = visual.conv1.kernel_size
    steps = visual.conv1.stride if stride is None else (stride, stride)
    grid = ((image_size[0] - patch_height) // steps[0] + 1, (image_size[1] - patch_width) // steps[1] + 1)
    if min(grid) < 1:
        raise ConfigurationError(f"an image of {image_size} pixels is smaller than a patch of {patch_height} pixels")
    visual.positional_embedding = resized_positions(visual.positional_embedding, visual.grid_size, grid)
    visual.conv1.stride = steps
    visual.image_size, visual.grid_size = image_size, grid


def _resize_resnet(visual: Any, image_size: tuple[int, int], stride: int | None) -> None:
    if stride not in (None, 16, 16 * visual.layer4[0].stride):
        raise ConfigurationError(f"stride is {stride}; a ResNet's last map has 32 or 16 pixels between its places")
    block, pool = visual.layer4[0], visual.attnpool
    old = _last_map(visual)
    if stride == 16:
        # Only poolings fall away: no weight belongs to a stride.
        block.stride, block.avgpool, block.downsample[0] = 1, nn.Identity(), nn.Identity()
    visual.image_size = image_size
    pool.positional_embedding = resized_positions(pool.positional_embedding, old, _last_map(visual))


def _last_map(visual: Any) -> tuple[int, int]:
    """Rows and columns of a ResNet's last map."""
    height, width = image_size_of(visual)
    stride = 16 * visual.layer4[0].stride
    return height // stride, width // stride


def resized_positions(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> nn.Parameter:
    """A table of positions (1 + H * W, width), the class or mean token first, for another grid of (rows, columns)."""
    if old == new:
        return nn.Parameter(table.detach().clone())
    grid = table.detach()[1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=new, mode="bilinear", align_corners=False)
    return nn.Parameter(torch.cat([table.detach()[:1], grid.flatten(2).transpose(1, 2)[0]]))

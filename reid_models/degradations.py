"""What real cameras do to person crops, on a batch: loose or tight boxes, people hidden by others, motion blur.

A batch is (B, 3, H, W) float32 with values 0 to 255; randomness comes from the generator.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from reid_models.draws import chosen_places, uniform

HIDDEN = (0.15, 0.45)  # share of the height that somebody in front hides from below, or of the width from one side
LONGEST_BLUR_PX = 9  # in images of 128 rows


def rebox(images: Tensor, probability: float, strength: float, generator: Generator) -> Tensor:
    """As if the detector's box had been too loose or too tight: each side of some images moves by up to `strength`.

    What lies outside the picture is mirrored at its border.
    """
    chosen = chosen_places(images, probability, generator)
    if not len(chosen):
        return images
    left, top, right, bottom = strength * (2.0 * uniform((4, len(chosen)), generator, images) - 1.0)
    # Coordinates run from -1 to 1, so a side that moves by a share s of the picture moves by 2 s.
    matrix = torch.zeros(len(chosen), 2, 3, device=images.device)
    matrix[:, 0, 0], matrix[:, 1, 1] = 1.0 + left + right, 1.0 + top + bottom
    matrix[:, 0, 2], matrix[:, 1, 2] = right - left, bottom - top
    grid = functional.affine_grid(matrix, [len(chosen), *images.shape[1:]], align_corners=False)
    moved = functional.grid_sample(images[chosen], grid, padding_mode="reflection", align_corners=False)
    return images.index_copy(0, chosen, moved)


def hide(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Lay a part of another image of the batch over the lower part or one side of some images."""
    chosen = chosen_places(images, probability, generator)
    if not len(chosen):
        return images
    height, width = images.shape[2:]
    others = images[(chosen + 1) % len(images)]
    edge, share = uniform((2, len(chosen)), generator, images)
    covered = HIDDEN[0] + (HIDDEN[1] - HIDDEN[0]) * share
    rows = torch.arange(height, device=images.device)[None, :, None] / height
    columns = torch.arange(width, device=images.device)[None, None, :] / width
    amount = covered[:, None, None]
    below, from_left, from_right = rows >= 1.0 - amount, columns < amount, columns >= 1.0 - amount
    edge = edge[:, None, None]
    hidden = torch.where(edge < 0.5, below, torch.where(edge < 0.75, from_left, from_right))
    return images.index_copy(0, chosen, torch.where(hidden[:, None], others, images[chosen]))


def motion_blur(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Smear some images along a line, as a walking person or a shaken camera does. One line per batch."""
    chosen = chosen_places(images, probability, generator)
    if not len(chosen):
        return images
    length, angle = uniform((2,), generator, images).tolist()
    longest = max(2.0, LONGEST_BLUR_PX * images.shape[2] / 128)
    kernel = _line(2.0 + (longest - 2.0) * length, angle * torch.pi).to(images)
    reach = kernel.shape[0] // 2
    padded = functional.pad(images[chosen], (reach,) * 4, mode="replicate")
    blurred = functional.conv2d(padded.flatten(0, 1)[:, None], kernel[None, None])
    return images.index_copy(0, chosen, blurred.view(len(chosen), *images.shape[1:]))


def _line(length_px: float, angle: float) -> Tensor:
    """An odd, square kernel of sum 1: a line of that length through its middle."""
    reach = max(1, round(length_px / 2))
    steps = torch.linspace(-length_px / 2, length_px / 2, 4 * reach + 1)
    direction = torch.tensor([angle]).sin().item(), torch.tensor([angle]).cos().item()
    rows, columns = ((steps * part).round().long().clamp(-reach, reach) + reach for part in direction)
    kernel = torch.zeros(2 * reach + 1, 2 * reach + 1)
    kernel.index_put_((rows, columns), torch.ones(len(steps)), accumulate=True)
    return kernel / kernel.sum()

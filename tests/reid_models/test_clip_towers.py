"""open_clip's towers at other sizes and strides."""

from __future__ import annotations

import pytest
import torch
from open_clip.model import CustomTextCLIP

from pipeline.errors import ConfigurationError
from reid_models.clip_towers import resize_tower, resized_positions

TEXT = {"context_length": 10, "vocab_size": 30, "width": 32, "heads": 2, "layers": 1}
VIT = {"image_size": 224, "layers": 1, "width": 64, "patch_size": 16}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16}


@pytest.mark.parametrize(
    ("size", "stride", "grid"),
    [
        ((256, 128), 16, (16, 8)),
        ((256, 128), 12, (21, 10)),
        ((384, 128), None, (24, 8)),
        ((224, 224), None, (14, 14)),
    ],
)
def test_a_vit_has_the_published_number_of_tokens(
    size: tuple[int, int], stride: int | None, grid: tuple[int, int]
) -> None:
    visual = CustomTextCLIP(24, VIT, TEXT).visual
    resize_tower(visual, size, stride)
    assert visual.grid_size == grid
    assert len(visual.positional_embedding) == 1 + grid[0] * grid[1]
    assert visual(torch.rand(1, 3, *size)).shape == (1, 24)


def test_the_same_size_changes_nothing() -> None:
    visual = CustomTextCLIP(24, VIT, TEXT).visual.eval()
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        before = visual(images)
        resize_tower(visual, (224, 224), 16)
        assert torch.equal(visual(images), before)


def test_a_resnet_without_its_last_stride_keeps_its_weights_and_doubles_its_map() -> None:
    visual = CustomTextCLIP(24, RESNET, TEXT).visual.eval()
    names, maps = list(visual.state_dict()), []
    visual.layer4.register_forward_hook(lambda _, inputs, output: maps.append(output))
    resize_tower(visual, (256, 128), 16)
    assert visual(torch.rand(1, 3, 256, 128)).shape == (1, 24)
    assert maps[0].shape[2:] == (16, 8)
    assert list(visual.state_dict()) == names
    resize_tower(visual, (128, 64))  # from an oblong table, at the stride it now has
    assert visual(torch.rand(1, 3, 128, 64)).shape == (1, 24)


def test_interpolated_positions_keep_the_first_row_and_a_straight_slope() -> None:
    rows = torch.arange(4.0)[:, None].expand(4, 4).reshape(16, 1)
    table = resized_positions(torch.cat([torch.tensor([[9.0]]), rows]), (4, 4), (8, 2))
    assert table[0] == 9.0
    assert torch.allclose(table[1:].view(8, 2)[1:7, 0], torch.arange(6) * 0.5 + 0.25)


@pytest.mark.parametrize(("tower", "stride", "text"), [(RESNET, 12, "32 or 16"), (VIT, None, "smaller than a patch")])
def test_what_a_tower_cannot_do_is_refused(tower: dict[str, object], stride: int | None, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        resize_tower(CustomTextCLIP(24, tower, TEXT).visual, (8, 8), stride)

"""The network's shapes, and its ONNX file, which must say the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from pipeline.camera.yolo import Layout, recognise
from pipeline.errors import ConfigurationError
from reid_models.detection.export import exported
from reid_models.detection.network import NetworkConfig, PersonDetector

TINY = NetworkConfig(channels=(8, 8, 8, 16, 16), blocks=(1, 1, 1, 1), neck=8)


@pytest.fixture(scope="module")
def network() -> PersonDetector:
    torch.manual_seed(0)
    tiny = PersonDetector(TINY)
    with torch.no_grad():  # running means of some pictures, so that normalisation is more than the identity
        for _ in range(3):
            tiny(torch.rand(4, 3, 64, 96) * 255)
    return tiny.eval()


@pytest.mark.parametrize(("height", "width"), [(64, 96), (320, 320), (384, 640)])
def test_one_row_for_each_cell_of_three_grids(network: PersonDetector, height: int, width: int) -> None:
    cells = sum((height // stride) * (width // stride) for stride in (8, 16, 32))
    assert network(torch.zeros(2, 3, height, width)).shape == (2, cells, 5)


def test_the_default_network_is_small() -> None:
    assert sum(parameter.numel() for parameter in PersonDetector().parameters()) <= 3_000_000


def test_an_untrained_network_sees_nobody(network: PersonDetector) -> None:
    assert network(torch.rand(1, 3, 64, 96) * 255)[..., 4].sigmoid().max() < 0.2


def test_the_file_says_what_the_network_says(network: PersonDetector, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(exported(network, 0.3, (64, 96)))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for pictures in (1, 3):
        pixels = torch.rand(pictures, 3, 64, 96) * 255
        (found,) = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})
        expected = network(pixels).detach()
        np.testing.assert_allclose(found[..., :4], expected[..., :4], rtol=1e-3, atol=1e-4)
        odds = expected[..., 4].sigmoid() / (1 - expected[..., 4].sigmoid()) * 0.7 / 0.3
        np.testing.assert_allclose(found[..., 4], odds / (1 + odds), rtol=1e-3, atol=1e-5)
        assert (found[..., 5] == 1).all()
    assert recognise(found, (96, 64)) is Layout.YOLOX


def test_the_export_leaves_the_network_as_it_was(network: PersonDetector) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    exported(network, 0.3, (64, 96))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_other_sizes_than_multiples_of_32_are_refused(network: PersonDetector) -> None:
    with pytest.raises(ConfigurationError, match="multiples of 32"):
        exported(network, 0.3, (360, 640))

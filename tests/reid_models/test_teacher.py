"""A teacher is asked as its own format demands, and answers in unit vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from reid_models.teacher import Teacher, TeacherFormat

openvino = pytest.importorskip("openvino", reason="needs the extra [openvino]")


@pytest.fixture
def mean_colour(tmp_path: Path) -> Path:
    """A network whose features are the means of the three channels."""
    import openvino.opset13 as ops

    pixels = ops.parameter([1, 3, 8, 4], np.float32)
    network = openvino.Model([ops.reduce_mean(pixels, ops.constant([2, 3]), keep_dims=False)], [pixels], "means")
    path = tmp_path / "means.xml"
    openvino.save_model(network, path, compress_to_fp16=False)
    return path


@pytest.mark.parametrize(("channels", "place"), [("bgr", 2), ("rgb", 0)])
def test_features_are_unit_vectors_of_the_ordered_channels(mean_colour: Path, channels: str, place: int) -> None:
    red = np.zeros((2, 20, 10, 3), np.uint8)
    red[..., 0] = 90
    picture = TeacherFormat(8, 4, channels)  # type: ignore[arg-type]
    vectors = Teacher(mean_colour, picture, threads=1).features(red)
    assert vectors.shape == (2, 3)
    np.testing.assert_allclose(vectors[:, place], 1.0, atol=1e-6)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.xml"
    path.write_text("nothing")
    with pytest.raises(ConfigurationError, match="is no network for pictures of shape"):
        Teacher(path)

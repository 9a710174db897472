"""A network of one weight: three times each pixel, and its sum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pixels (N, 4) float32 → tripled (N, 4), total (N, 1)."""
    path = tmp_path_factory.mktemp("network") / "triple.onnx"
    weight = numpy_helper.from_array(np.array(3.0, np.float32), "three")
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["pixels", "three"], ["tripled"]),
            helper.make_node("ReduceSum", ["pixels", "axes"], ["total"], keepdims=1),
        ],
        "triple",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["crops", 4])],
        [
            helper.make_tensor_value_info("tripled", TensorProto.FLOAT, ["crops", 4]),
            helper.make_tensor_value_info("total", TensorProto.FLOAT, ["crops", 1]),
        ],
        [weight, axes],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path

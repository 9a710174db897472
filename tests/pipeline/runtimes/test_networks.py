"""Both runtimes over one network file: the same suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from pipeline.runtimes.networks import NETWORKS, open_network
from pipeline.runtimes.runtime import RuntimeName, RuntimeOptions

both = pytest.mark.parametrize("runtime", sorted(NETWORKS))


@both
@pytest.mark.parametrize("rows", [1, 5, 6, 8, 11])
def test_every_batch_size_gives_its_own_rows_with_and_without_a_usual_size(
    network: Path, runtime: RuntimeName, rows: int
) -> None:
    batch = np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)
    for full_batch in (0, 8):
        opened = open_network(runtime, network, RuntimeOptions(full_batch=full_batch))
        assert opened.input_shape == (None, 4) and opened.name == runtime
        tripled, total = opened.run(batch)
        np.testing.assert_allclose(tripled, 3 * batch, rtol=1e-6)
        np.testing.assert_allclose(total, batch.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-6)


@both
def test_a_result_stays_what_it_was_when_the_next_batch_is_computed(network: Path, runtime: RuntimeName) -> None:
    opened = open_network(runtime, network, RuntimeOptions(full_batch=2))
    first, _ = opened.run(np.ones((2, 4), np.float32))
    opened.run(np.zeros((2, 4), np.float32))
    assert (first == 3.0).all()


@both
def test_a_file_that_is_no_network_is_refused(runtime: RuntimeName, tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    with pytest.raises(ConfigurationError, match=f"cannot be read by {runtime}"):
        open_network(runtime, tmp_path / "broken.onnx", RuntimeOptions())
    with pytest.raises(ConfigurationError, match="there is no model file"):
        open_network(runtime, tmp_path / "missing.onnx", RuntimeOptions())


@both
def test_what_a_runtime_cannot_do_is_said_before_it_is_tried(network: Path, runtime: RuntimeName) -> None:
    impossible = RuntimeOptions("bf16") if runtime == "onnxruntime" else RuntimeOptions(device="cuda")
    with pytest.raises(ConfigurationError, match="use "):
        open_network(runtime, network, impossible)


def test_torch_opens_no_network_files(network: Path) -> None:
    with pytest.raises(ConfigurationError, match="known are onnxruntime, openvino"):
        open_network("torch", network, RuntimeOptions())

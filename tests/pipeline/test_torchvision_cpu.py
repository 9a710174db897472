"""torchvision beside a CPU-only torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.torchvision_cpu import install, non_maximum_suppression


def test_torchvision_imports_in_a_fresh_process_however_often_it_is_prepared() -> None:
    program = (
        "from pipeline.torchvision_cpu import install; first = install(); assert install() == first; "
        "import torchvision; import torch; "
        "print(torchvision.ops.nms(torch.tensor([[0., 0, 9, 9], [0, 0, 9, 8]]), torch.tensor([.2, .8]), .5).tolist())"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[1]"


boxes = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 15), st.integers(1, 15))


def naive_suppression(corners: list[tuple[float, ...]], scores: list[float], threshold: float) -> list[int]:
    def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
        width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
        height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
        return width * height / (areas - width * height)

    kept: list[int] = []
    for place in sorted(range(len(scores)), key=lambda place: -scores[place]):
        if all(overlap(corners[place], corners[other]) <= threshold for other in kept):
            kept.append(place)
    return kept


@settings(max_examples=60)
@given(st.lists(boxes, max_size=12), st.sampled_from((0.3, 0.45, 0.7)), st.integers(0, 2**31))
def test_suppression_equals_a_naive_loop(drawn: list[tuple[int, ...]], threshold: float, seed: int) -> None:
    corners = [(float(x), float(y), float(x + w), float(y + h)) for x, y, w, h in drawn]
    scores = np.random.default_rng(seed).permutation(len(drawn)).astype(float).tolist()
    kept = non_maximum_suppression(torch.tensor(corners).reshape(-1, 4), torch.tensor(scores), threshold)
    assert kept.tolist() == naive_suppression(corners, scores, threshold)


def test_own_operators_are_left_alone() -> None:
    install()
    if not torch.cuda.is_available():
        pytest.skip("needs a torchvision whose compiled part loads")
    assert install() is False

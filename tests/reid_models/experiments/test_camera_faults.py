"""Every fault is put into the same pictures the same way, and spoils them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from reid_models.bundle import Bundle, save_bundle
from reid_models.datasets.described import Source
from reid_models.experiments.camera_faults import FAULTS, main, spoilt


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_strikes_every_picture_alike_each_time(fault: str) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 128, 64, 3), np.uint8)
    first = spoilt(pictures, fault)
    assert (first == spoilt(pictures, fault)).all()
    changed = (first != pictures).reshape(len(pictures), -1).any(axis=1)
    assert changed.all() != (fault == "none")


def test_each_bundle_is_scored_under_each_fault(tiny_bundle: Bundle, miniature: Source, tmp_path: Path) -> None:
    save_bundle(tmp_path / "bundle", tiny_bundle.encoder, tiny_bundle.manifest)
    app = Typer()
    app.command()(main)
    out = tmp_path / "faults.json"
    found = CliRunner().invoke(
        app, [str(tmp_path / "bundle"), "--data", str(miniature.images), "--out", str(out)], catch_exceptions=False
    )
    assert found.exit_code == 0
    (scores,) = json.loads(out.read_text()).values()
    assert scores.keys() == FAULTS.keys()
    assert all(0.0 < score["mean_average_precision"] <= 1.0 for score in scores.values())

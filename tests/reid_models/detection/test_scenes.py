"""Scenes on disk, and what is behind their people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from reid_models.detection.scenes import NOBODY, Scene, load_scene, load_scenes, save_scene, split
from tests.detection_figures import ground, walk


def test_a_scene_is_read_as_it_was_written(tmp_path: Path) -> None:
    doubt = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    scene = Scene("gate-1", walk(3).frames, (NOBODY, doubt, doubt[:1]), (doubt, NOBODY, NOBODY))
    found = load_scene(save_scene(tmp_path, scene))
    assert found.name == "gate-1"
    np.testing.assert_array_equal(found.frames, scene.frames)
    for kind in ("people", "doubtful"):
        for one, other in zip(getattr(found, kind), getattr(scene, kind), strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_is_no_scene_is_refused_with_its_path(tmp_path: Path) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no zip")
    with pytest.raises(ConfigurationError, match=r"broken\.npz is no scene"):
        load_scene(broken)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no scene"):
        load_scenes(tmp_path)


def test_the_background_shows_no_walker() -> None:
    scene = walk()
    empty = scene.background(20).astype(int)
    assert np.abs(empty - ground(np.random.default_rng(0))).mean() < 4
    assert np.abs(empty - scene.frames[20]).max() > 60


def test_the_last_eighth_of_a_long_scene_is_not_learnt_from() -> None:
    learnt, kept = split(walk(120))
    assert (len(learnt.frames), len(kept.frames)) == (105, 15)
    assert len(split(walk(20))[1].frames) == 0

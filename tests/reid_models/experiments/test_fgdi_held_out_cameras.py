"""The miniature of leave-one-out: no person in two domains, nothing learnt from the held-out cameras."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from reid_models.experiments import fgdi_held_out_cameras as experiment
from reid_models.experiments.fgdi_held_out_cameras import PAIRS, VARIANTS, LabelledImages
from reid_models.experiments.runs import Results, RunResult

sightings = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5)), min_size=1, max_size=60)


@given(sightings)
def test_a_person_is_in_one_domain_and_seen_by_both_of_its_cameras(seen: list[tuple[int, int]]) -> None:
    identities, cameras = np.array(seen, np.int64).T
    domains = experiment.source_domains(identities, cameras, PAIRS[:2])
    for identity in np.unique(identities):
        mine = (identities == identity) & (domains >= 0)
        assert len(set(domains[mine])) <= 1
        if mine.any():
            assert set(cameras[mine]) == set(PAIRS[domains[mine][0]])
    assert not np.isin(cameras[domains >= 0], PAIRS[2]).any()


def crowd(people: int, seed: int) -> LabelledImages:
    """Everyone before every camera, three times."""
    rng = np.random.default_rng(seed)
    identities, cameras = (
        values.reshape(-1) for values in np.meshgrid(np.repeat(np.arange(1, people + 1), 3), np.arange(6))
    )
    colours = rng.uniform(0, 255, (people, 1, 1, 3))[identities - 1]
    images = np.clip(colours + rng.normal(0, 20, (len(identities), *experiment.SIZE, 3)), 0, 255)
    return LabelledImages(images.astype(np.uint8), identities, cameras)


def test_every_variant_of_a_seed_is_run_once_and_shown(tmp_path: Path) -> None:
    light = experiment.LIGHT
    images = replace(light.images, epochs=1, identities_per_batch=4)
    config = replace(
        light, images=images, prompts=replace(light.prompts, epochs=1), warm_up_epochs=1, relevant_epochs=1
    )
    path = tmp_path / "results.json"
    variants = ["identity and triplet only", "CLIP-FGDI"]
    for _ in range(2):
        experiment.run_all(Results(path), crowd(8, 1), crowd(4, 2), 0, 0, variants, config)
    runs = Results(path).runs
    assert [run.variant for run in runs] == variants
    assert "invariant_prompts_domain_accuracy" in runs[1].figures and "images_text" not in runs[0].figures
    # Both saw the same first stage, which ran before them.
    assert all(not name.startswith("warm_up") for run in runs for name in run.figures)
    table = experiment.table({PAIRS[0]: Results(path)})
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [f"| {variant}" for variant in variants]


def test_gains_are_taken_within_a_seed_and_a_pair(tmp_path: Path) -> None:
    here, there = Results(tmp_path / "here.json"), Results(tmp_path / "there.json")
    first, second = list(VARIANTS)[:2]
    for results, seed, plain in ((here, 0, 0.2), (here, 1, 0.4), (there, 2, 0.6)):
        results.add(RunResult(first, seed, {"map": plain, "rank_1": 0.5}, {}, 1.0))
        results.add(RunResult(second, seed, {"map": plain + 0.05, "rank_1": 0.5 + 0.01 * seed}, {}, 1.0))
    there.add(RunResult(second, 3, {"map": 0.0, "rank_1": 0.0}, {}, 1.0))  # without the plain run beside it
    last = experiment.table({PAIRS[0]: here, PAIRS[2]: there}).splitlines()[-1]
    assert last == "| CLIP-FGDI | 4 | 35.0 ± 14.1 | 32.5 ± 46.0 | 5.0 ± 0.0 | 1.0 ± 1.0 |"


def test_held_out_cameras_alone_are_scored() -> None:
    chosen = crowd(3, 1).of_cameras(PAIRS[1])
    assert set(chosen.cameras) == set(PAIRS[1]) and len(chosen.images) == 18


def test_an_unknown_variant_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="no variant 'x'; the known ones: identity and triplet only; CLIP-FGDI"
    ):
        experiment.main(tmp_path, tmp_path, variant=["x"])

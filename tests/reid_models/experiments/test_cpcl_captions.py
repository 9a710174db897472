"""The experiment on a miniature: what the trainer is shown, how runs share their warm-up, how clusters are judged."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from reid_models.datasets.described import Source
from reid_models.experiments import cpcl_captions
from reid_models.experiments.cpcl_captions import LIGHT, ORACLE, SCORES, VARIANTS, purity, read, run
from reid_models.methods.cpcl import PseudoLabels
from reid_models.pseudo_labels import JaccardConfig


def test_every_training_image_is_described_and_nothing_shown_says_by_whom(miniature: Source, tmp_path: Path) -> None:
    data = read(miniature.images, miniature.captions, miniature.attributes, tmp_path)
    assert {field.name for field in fields(data.pairs)} == {"images", "captions", "image_of_caption"}
    assert len(data.pairs.images) == len(data.image_identities) == 32
    assert np.array_equal(data.image_identities[data.pairs.image_of_caption], data.caption_identities)
    assert set(data.image_identities.tolist()).isdisjoint(data.gallery_identities.tolist())


def test_variants_go_on_from_one_warm_up(miniature: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"epochs": 2, "warm_up_epochs": 1, "batch": 16, "jaccard": JaccardConfig(k1=4, k2=2), "least_samples": 2}
    monkeypatch.setattr(cpcl_captions, "LIGHT", replace(LIGHT, **short))  # type: ignore[arg-type]
    for variant in ("InfoNCE", "CPCL", ORACLE):
        monkeypatch.setitem(VARIANTS, variant, replace(VARIANTS[variant], **short))  # type: ignore[arg-type]
    data = read(miniature.images, miniature.captions, miniature.attributes, tmp_path)
    baseline = run("InfoNCE", 0, data, tmp_path)
    shared = (tmp_path / "warm-up-0" / "checkpoint.safetensors").read_bytes()
    result = run("CPCL", 0, data, tmp_path)
    assert (tmp_path / "warm-up-0" / "checkpoint.safetensors").read_bytes() == shared
    assert set(SCORES) <= result.scores.keys() == baseline.scores.keys()
    assert result.figures["image_clusters"] > 0
    assert 0 < result.figures["image_pair_precision"] <= 1
    assert "image_clusters" not in baseline.figures
    told = run(ORACLE, 0, data, tmp_path).figures
    assert [told[f"{kind}_pair_{of}"] for kind in ("image", "text") for of in ("precision", "recall")] == [1.0] * 4


def test_purity_counts_pairs_and_leaves_outliers_out(miniature: Source, tmp_path: Path) -> None:
    data = read(miniature.images, miniature.captions, miniature.attributes, tmp_path)
    data = replace(data, image_identities=np.array([1, 1, 1, 2, 2, 2]), caption_identities=np.array([1, 1, 2, 2]))
    found = purity(PseudoLabels(np.array([0, 0, -1, 0, 1, -1]), np.array([-1, -1, -1, -1])), data)
    # Of three pairs in a cluster one is right; of six pairs of one person it is the only one found.
    assert found == {
        "image_pair_precision": pytest.approx(1 / 3), "image_pair_recall": pytest.approx(1 / 6),
        "text_pair_precision": 0.0, "text_pair_recall": 0.0,
    }  # fmt: skip

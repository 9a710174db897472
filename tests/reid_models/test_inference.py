"""A bundle at work."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.simulation.people import UPPER_COLOURS
from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.truth import true_boxes
from pipeline.contracts import Image
from pipeline.errors import ConfigurationError, InvalidMessage
from reid_models.bundle import Bundle, load_bundle, save_bundle
from reid_models.inference import BundleEncoder, load_encoder
from reid_models.manifest import DEFAULT_BUNDLE
from reid_models.serving.encoder import LARGEST_BATCH
from reid_models.serving.torch_runtime import TextTower

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Bundle) -> BundleEncoder:
    return BundleEncoder(tiny_bundle, CPU, torch.float32)


@pytest.fixture(scope="module")
def shipped() -> BundleEncoder:
    return load_encoder(device="cpu")


def some_crops(count: int, height: int = 90, width: int = 41) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    small = rng.integers(0, 256, (count, 6, 3, 3), np.uint8)
    return [crop.repeat(height // 6, axis=0).repeat(width // 3, axis=1) for crop in small]


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 100)), min_size=1, max_size=4))
def test_crops_of_any_size_become_unit_vectors_in_order(encoder: BundleEncoder, sizes: list[tuple[int, int]]) -> None:
    crops = [np.full((height, width, 3), 10 * place, np.uint8) for place, (height, width) in enumerate(sizes)]
    together = encoder.embed_images(crops)
    assert together.appearance.shape == (len(crops), encoder.manifest.appearance_width)
    for vectors in (together.appearance, together.language):
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    alone = np.concatenate([encoder.embed_images([crop]).appearance for crop in crops])
    assert np.allclose(together.appearance, alone, atol=1e-4)


def test_more_crops_than_a_batch_are_all_embedded(encoder: BundleEncoder) -> None:
    crops = some_crops(LARGEST_BATCH + 3)
    assert np.allclose(
        encoder.embed_images(crops).language[-1], encoder.embed_images(crops[-1:]).language[0], atol=1e-4
    )


def test_nothing_in_nothing_out(encoder: BundleEncoder) -> None:
    assert encoder.embed_images([]).appearance.shape == (0, encoder.manifest.appearance_width)
    assert encoder.embed_texts([]).shape == (0, encoder.manifest.language_width)


@pytest.mark.parametrize(
    "crop",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))],
)
def test_a_crop_that_is_no_rgb_image_is_named(encoder: BundleEncoder, crop: np.ndarray) -> None:
    with pytest.raises(InvalidMessage, match=r"crop 1 is .*; expected RGB uint8"):
        encoder.embed_images([np.zeros((4, 4, 3), np.uint8), crop])


def test_sentences_become_unit_vectors_and_unknown_words_are_named(encoder: BundleEncoder) -> None:
    vectors = encoder.embed_texts(["a man in a red shirt", ""])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert encoder.unknown_words("a man in a red poncho") == ["poncho"]


def test_the_length_of_its_neighbours_changes_no_sentence(shipped: BundleEncoder) -> None:
    short, long = "a red coat", "a tall woman with long dark hair in a red coat and blue jeans with a backpack"
    together, alone = shipped.embed_texts([short, long]), shipped.embed_texts([short])
    np.testing.assert_allclose(together[0], alone[0], atol=1e-5)
    bundle = load_bundle(DEFAULT_BUNDLE)
    with torch.inference_mode():
        whole = bundle.encoder.eval().embed_tokens(bundle.tokenize([short, long]))
    np.testing.assert_allclose(together, torch.nn.functional.normalize(whole, dim=1), atol=1e-5)


def test_sentences_of_a_small_tower_take_one_thread_and_leave_the_others_to_pictures() -> None:
    texts = TextTower(load_bundle(DEFAULT_BUNDLE), torch.device("cpu"))
    seen: list[int] = []
    texts._tower.ln_final.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        texts(["a red coat"])
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(usual)


def test_folding_the_norms_changes_no_vector(tiny_bundle: Bundle, encoder: BundleEncoder) -> None:
    torch.manual_seed(1)
    trained = replace(tiny_bundle, encoder=copy.deepcopy(tiny_bundle.encoder))
    for module in trained.encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    pixels = np.random.default_rng(2).integers(0, 256, (2, 64, 32, 3), np.uint8)
    size = tiny_bundle.manifest.input
    images = (torch.from_numpy(pixels) / 255.0 - torch.tensor(size.mean)) / torch.tensor(size.std)
    with torch.inference_mode():
        plain = torch.nn.functional.normalize(trained.encoder(images.permute(0, 3, 1, 2)).appearance, dim=1)
    folded = BundleEncoder(trained, CPU, torch.float32).embed_images(list(pixels))
    assert np.allclose(plain.numpy(), folded.appearance, atol=1e-5)


def test_the_shipped_bundle_computes_nearly_the_same_in_bfloat16() -> None:
    bundle = load_bundle(DEFAULT_BUNDLE)
    crops = some_crops(8, 126, 63)
    exact = BundleEncoder(bundle, CPU, torch.float32).embed_images(crops)
    quick = BundleEncoder(bundle, CPU, torch.bfloat16).embed_images(crops)
    assert (exact.appearance * quick.appearance).sum(axis=1).min() >= 0.999
    assert (exact.language * quick.language).sum(axis=1).min() >= 0.999


def test_the_shipped_bundle_is_small_calibrated_and_the_default(shipped: BundleEncoder) -> None:
    manifest = shipped.manifest
    assert sum(path.stat().st_size for path in DEFAULT_BUNDLE.iterdir()) < 18.5e6
    assert manifest.name == "sightline-small"
    assert shipped.digest == manifest.digest
    assert shipped.calibration is not None
    assert shipped.calibration.language is not None
    assert shipped.calibration.appearance.slope > 0 and shipped.calibration.language.slope > 0
    assert shipped.unknown_words("a woman in a red coat with a backpack") == []


def test_the_shipped_bundle_tells_eight_colours_apart_on_people_that_it_has_not_seen(shipped: BundleEncoder) -> None:
    site = SimulatedSite(seed=2002, cameras=2, people=24)
    crops: list[Image] = []
    worn: list[str] = []
    for camera in range(2):
        for time_s in range(0, 120, 8):
            seen = [box for box in true_boxes(site, camera, time_s) if box.visibility > 0.9]
            picture = site.render(camera, time_s)
            for box in seen:
                left, top, right, bottom = (max(round(side), 0) for side in box.box_px)
                if bottom - top >= 80:
                    crops.append(np.ascontiguousarray(picture[top:bottom, left:right]))
                    worn.append(site.person(box.person_id).upper_colour)
    colours = list(UPPER_COLOURS)
    assert len(crops) >= 80 and set(worn) == set(colours)
    texts = shipped.embed_texts([f"a person in a {colour} top" for colour in colours])
    said = (texts @ shipped.embed_images(crops).language.T).argmax(axis=0)
    assert np.mean([colours[place] == colour for place, colour in zip(said, worn, strict=True)]) >= 0.95


def test_a_bundle_is_found_by_folder_and_by_name(tiny_bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(tmp_path, tiny_bundle.encoder, tiny_bundle.manifest)
    assert load_encoder(tmp_path, device="cpu").manifest.name == "tiny"
    assert load_encoder("sightline-small", device="cpu").manifest.name == "sightline-small"


def test_cuda_without_a_device_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ConfigurationError, match="use 'auto' or 'cpu'"):
        load_encoder(device="cuda")

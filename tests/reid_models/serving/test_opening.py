"""One bundle on every runtime and in every precision."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts import Embeddings
from pipeline.errors import ConfigurationError
from pipeline.runtimes.runtime import Precision, RuntimeName, RuntimeOptions
from pipeline.runtimes.trial import LEAST_SIMILARITY, Candidate
from reid_models.inference import load_encoder
from reid_models.serving.artefacts import Artefacts, artefacts_of
from reid_models.serving.opening import export_if_missing, open_served
from reid_models.serving.pixels import U8
from reid_models.serving.quantising import measure_ranges, quantise_if_missing, write_ranges
from reid_models.serving.trial import REFERENCE, least_similarity

OPTIONS = RuntimeOptions(threads=1, full_batch=8)
FP32 = Candidate("openvino", "fp32")


@pytest.fixture(scope="module")
def calibrated(bundle_folder: Path, crops: U8) -> Path:
    files = artefacts_of(bundle_folder)
    export_if_missing(bundle_folder, files)
    write_ranges(files.own_ranges, measure_ranges(files, crops[:64]))
    return bundle_folder


@pytest.fixture(scope="module")
def truth(bundle_folder: Path, crops: U8) -> Embeddings:
    return open_served(bundle_folder, REFERENCE, OPTIONS).embed_images(list(crops))


@pytest.mark.parametrize(
    ("runtime", "precision"),
    [
        ("torch", "bf16"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
        ("openvino", "fp32"),
        ("openvino", "bf16"),
        ("openvino", "int8"),
    ],
)
def test_every_runtime_gives_the_vectors_of_float32_as_nearly_as_its_precision_must(
    calibrated: Path, truth: Embeddings, crops: U8, runtime: RuntimeName, precision: Precision
) -> None:
    encoder = open_served(calibrated, Candidate(runtime, precision), OPTIONS)
    found = encoder.embed_images(list(crops))
    assert encoder.digest == load_encoder(calibrated, "cpu").digest
    assert least_similarity(found, truth) >= LEAST_SIMILARITY[precision]
    assert np.allclose(np.linalg.norm(found.language, axis=1), 1.0, atol=1e-4)


def test_crops_that_look_alike_to_float32_do_so_to_int8(calibrated: Path, truth: Embeddings, crops: U8) -> None:
    found = open_served(calibrated, Candidate("openvino", "int8"), OPTIONS).embed_images(list(crops))
    similarity = found.appearance @ truth.appearance.T
    assert (similarity.argmax(axis=1) == np.arange(len(crops))).mean() >= 0.98


def test_torch_does_not_serve_int8(bundle_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="not int8; use openvino"):
        open_served(bundle_folder, Candidate("torch", "int8"), OPTIONS)


def test_int8_without_ranges_names_the_command_that_makes_them(
    bundle_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path))
    with pytest.raises(ConfigurationError, match="sightline models quantise"):
        open_served(bundle_folder, Candidate("openvino", "int8"), OPTIONS)


def another(calibrated: Path, folder: Path, content: str) -> Artefacts:
    """A copy of the bundle that brings these ranges along, with a cache in which only its network lies."""
    for name in ("model.safetensors", "manifest.json"):
        (folder / name).write_bytes((calibrated / name).read_bytes())
    (folder / "int8.json").write_text(content)
    known = artefacts_of(calibrated)
    files = Artefacts(folder, known.digest, folder / "cache")
    files.folder.mkdir()
    files.network.write_bytes(known.network.read_bytes())
    return files


@pytest.mark.parametrize("content", ["{}", "no JSON", '{"digest": "0123456789abcdef", "crops": 9, "activations": {}}'])
def test_ranges_of_another_model_and_damaged_ones_count_as_none(calibrated: Path, tmp_path: Path, content: str) -> None:
    files = another(calibrated, tmp_path, content)
    assert files.ranges() is None
    with pytest.raises(ConfigurationError, match="sightline models quantise"):
        files.network_in("int8")


def test_ranges_in_another_form_are_refused(calibrated: Path, tmp_path: Path) -> None:
    ranges = artefacts_of(calibrated).ranges()
    assert ranges is not None
    files = another(calibrated, tmp_path, ranges.model_copy(update={"activations": {}}).model_dump_json())
    with pytest.raises(ConfigurationError, match="do not fit its network"):
        quantise_if_missing(files)
    assert not files.network_in("int8").exists()


def test_ranges_of_this_machine_go_before_those_of_the_bundle(calibrated: Path, tmp_path: Path) -> None:
    ranges = artefacts_of(calibrated).ranges()
    assert ranges is not None
    files = another(calibrated, tmp_path, ranges.model_dump_json())
    assert files.ranges() == ranges
    write_ranges(files.own_ranges, ranges.model_copy(update={"crops": 1000}))
    assert files.ranges() == ranges.model_copy(update={"crops": 1000})


def test_too_few_crops_calibrate_nothing(calibrated: Path, crops: U8) -> None:
    with pytest.raises(ConfigurationError, match="31 crops are too few"):
        measure_ranges(artefacts_of(calibrated), crops[:31])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_process_that_embeds_crops_on_another_runtime_never_loads_torch(calibrated: Path, runtime: str) -> None:
    program = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from pipeline.runtimes.runtime import RuntimeOptions\n"
        "from pipeline.runtimes.trial import Candidate\n"
        "from reid_models.serving.opening import open_served\n"
        "encoder = open_served(Path(sys.argv[1]), Candidate(sys.argv[2], 'fp32'), RuntimeOptions())\n"
        "encoder.embed_images([np.zeros((9, 5, 3), np.uint8)])\n"
        "print(sorted({'torch', 'onnxruntime', 'openvino'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", program, str(calibrated), runtime]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.stdout.strip() == f"['{runtime}']"


def test_sentences_are_answered_by_torch_whatever_embeds_the_crops(calibrated: Path) -> None:
    served = open_served(calibrated, FP32, OPTIONS)
    right = load_encoder(calibrated, "cpu")
    sentences = ["a red man", "a man"]
    np.testing.assert_array_equal(served.embed_texts(sentences), right.embed_texts(sentences))
    assert served.unknown_words("a red poncho") == right.unknown_words("a red poncho")

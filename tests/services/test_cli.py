"""The command line as its user meets it: help at once, errors with a remedy, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.runtimes.machine import CACHE_VARIABLE
from tests.services.command import Sightline

SECRET = "pa55word"


def started(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=100,
        check=False,
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200", **environment},
    )


@pytest.fixture(scope="module")
def one_runtime(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings with which doctor tries one runtime, once: a trial of all takes the better part of a minute."""
    return {
        "SIGHTLINE_EMBEDDING__RUNTIME": "torch",
        "SIGHTLINE_EMBEDDING__PRECISION": "fp32",
        "SIGHTLINE_EMBEDDING__BATCH_CROPS": "4",
        "SIGHTLINE_EMBEDDING__THREADS": "1",
        "SIGHTLINE_TRACKING__DETECTOR_RUNTIME": "onnxruntime",
        CACHE_VARIABLE: str(tmp_path_factory.mktemp("cache")),
    }


def test_help_names_every_command_and_loads_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['sightline', '--help']\n"
        "import services.cli\n"
        "try: services.cli.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'cv2', 'av', 'faiss', 'sqlalchemy', 'redis', 'fastapi'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    for command in (
        "up",
        "demo",
        "camera",
        "embed",
        "match",
        "archive",
        "api",
        "query",
        "correct",
        "explain",
        "doctor",
        "settings",
        "simulate",
        "models",
        "nightly",
    ):
        assert command in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["up"], "no camera is given"),
        (["up", "--camera", "lobby"], "--camera expects ID=ADDRESS"),
        (["up", "-c", "none.yaml"], "none.yaml cannot be read"),
        (["up", "--camera", "a=ftp://host/x", "--port", "0"], "ftp"),
        (["camera", "--camera", "a=nothing.mp4", "--metrics-port", "0"], "nothing.mp4"),
        (["query", "a woman"], "there is no database"),
        (["match", "--metrics-port", "0"], "Redis"),
    ],
)
def test_what_cannot_work_ends_with_code_2_and_a_remedy(tmp_path: Path, arguments: list[str], told: str) -> None:
    done = started(*arguments, folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_are_shown_without_secrets(tmp_path: Path) -> None:
    done = started(
        "settings", "--camera", f"lobby=rtsp://user:{SECRET}@host/stream", folder=tmp_path, SIGHTLINE_API__TOKEN=SECRET
    )
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout
    assert yaml.safe_load(done.stdout)["cameras"][0]["id"] == "lobby"


def test_doctor_finds_everything_that_is_shipped(tmp_path: Path, one_runtime: dict[str, str]) -> None:
    done = started("doctor", folder=tmp_path, **one_runtime)
    assert done.returncode == 0, done.stdout + done.stderr
    for subject in ("torch", "model", "runtime torch fp32", "chosen: ", "detector", "redis", "database", "accelerator"):
        assert subject in done.stdout


def test_doctor_says_which_camera_does_not_answer_and_hides_its_password(
    tmp_path: Path, one_runtime: dict[str, str]
) -> None:
    camera = f"gate=rtsp://user:{SECRET}@127.0.0.1:1/x"
    done = started("doctor", "--camera", camera, folder=tmp_path, **one_runtime)
    assert done.returncode == 1
    assert "camera gate" in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_a_simulated_site_is_written_with_its_truth(tmp_path: Path, sightline: Sightline) -> None:
    done = sightline(tmp_path, "simulate", "--out", "site", "--cameras", "2", "--people", "3", "--duration", "3")
    assert done.code == 0, done.errors
    people = json.loads((tmp_path / "site" / "people.json").read_text())
    assert people
    assert len(list((tmp_path / "site").glob("*.mp4"))) == 2
    assert len(list((tmp_path / "site").glob("gt_*.txt"))) == 2


def test_tracking_is_evaluated_on_a_written_video(tmp_path: Path, sightline: Sightline) -> None:
    assert sightline(tmp_path, "simulate", "--out", "site", "--cameras", "2", "--duration", "12").code == 0
    done = sightline(
        tmp_path, "evaluate", "tracking", "--video", "site/camera0.mp4", "--truth", "site/gt_camera0.txt",
        "--detector", "motion", "--json", "score.json",
    )  # fmt: skip
    assert done.code == 0, done.errors
    score = json.loads((tmp_path / "score.json").read_text())
    assert score["mota"] > 0.2
    assert "idf1" in done.out


def test_lines_marked_0_in_the_truth_count_if_wanted(tmp_path: Path, sightline: Sightline) -> None:
    assert sightline(tmp_path, "simulate", "--out", "site", "--cameras", "2", "--duration", "2").code == 0
    (tmp_path / "truth.txt").write_text("1,1,0,0,50,100,1\n1,2,90,0,50,100,0\n")
    true_boxes = []
    for all_lines in ([], ["--all-lines"]):
        done = sightline(
            tmp_path, "evaluate", "detector", "--video", "site/camera0.mp4", "--truth", "truth.txt", *all_lines,
            "--detector", "motion", "--json", "score.json",
        )  # fmt: skip
        assert done.code == 0, done.errors
        score = json.loads((tmp_path / "score.json").read_text())
        true_boxes.append(score["hits"] + score["misses"])
    assert true_boxes == [1, 2]

"""`sightline evaluate identity` as its user meets it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

import reid_models.inference
from services.cli_evaluate import app
from tests.fakes import ColourEncoder, jpeg, painted


class Encoder(ColourEncoder):
    manifest = None  # nothing was measured of it


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Somebody before one camera and, a few seconds later, somebody rather alike before another."""
    pictures = {
        "query/0001_c1s1_000100_01.jpg": (200, 0, 0),
        "bounding_box_test/0001_c2s1_000200_01.jpg": (100, 200, 0),
    }
    path = tmp_path / "market.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, colour in pictures.items():
            file.writestr(name, jpeg(painted(colour)))
    return path


def identities(archive: Path, budget: str) -> int:
    found = archive.with_suffix(".json")
    done = CliRunner().invoke(app, ["identity", "--data", str(archive), "--budget", budget, "--json", str(found)])
    assert done.exit_code == 0, done.output
    count: int = json.loads(found.read_text())["identities"]
    return count


def test_who_may_err_more_joins_more(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reid_models.inference, "load_encoder", lambda _: Encoder())
    assert (identities(archive, "0.5"), identities(archive, "0.001")) == (1, 2)


@pytest.mark.parametrize("budget", ["0", "0.6", "much"])
def test_a_budget_that_is_no_share_of_joins_is_refused(archive: Path, budget: str) -> None:
    done = CliRunner().invoke(app, ["identity", "--data", str(archive), "--budget", budget])
    assert done.exit_code == 2 and "Invalid value for '--budget'" in done.output

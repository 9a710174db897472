"""The command without a process of its own, and a miniature of labelled people for commands that measure models."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from services import cli
from tests.services.command import Ended, Sightline


@pytest.fixture
def sightline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Sightline:
    """The command, in this process: loading libraries anew takes longer than what it does here."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(folder: Path, *arguments: str) -> Ended:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["sightline", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        told = capsys.readouterr()
        return Ended(code, told.out, told.err)

    return run


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Four people of one colour each, seen by two cameras, with a sentence each."""
    data = tmp_path / "people"
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]
    for folder, camera in (("query", 1), ("bounding_box_test", 2)):
        (data / folder).mkdir(parents=True)
        for who, colour in enumerate(colours, 1):
            noise = np.random.default_rng(10 * camera + who).integers(0, 50, (64, 32, 3))
            picture = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(data / folder / f"{who:04}_c{camera}s1_000001_00.jpg"), picture)
    return data


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    """The sentences about these people."""
    names = ("blue", "green", "red", "cyan")
    records = [
        {"image": "x.jpg", "identity": str(who), "split": "val", "captions": [f"a man in {name}"]}
        for who, name in enumerate(names, 1)
    ]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(records))
    return path

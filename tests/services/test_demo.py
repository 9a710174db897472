"""What the demo does before it starts; that it runs is shown end to end."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from services.demo import empty_folder, free_ports
from services.up import only_one


def test_what_an_earlier_demo_left_goes(tmp_path: Path) -> None:
    empty_folder(tmp_path)
    (tmp_path / "sightline.db").touch()
    (tmp_path / "run" / "api.log").touch()
    (tmp_path / "blobs" / "ab").mkdir(parents=True)
    empty_folder(tmp_path)
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == [".sightline-demo", "run", "lock"]


def test_a_folder_of_somebody_else_is_never_emptied(tmp_path: Path) -> None:
    with only_one(tmp_path / "run"):  # as `sightline up` uses it
        (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigurationError, match="not of a demo"):
        empty_folder(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_running_demo_keeps_its_folder(tmp_path: Path) -> None:
    empty_folder(tmp_path)
    with only_one(tmp_path / "run"):
        (tmp_path / "sightline.db").touch()
        with pytest.raises(ConfigurationError, match="another"):
            empty_folder(tmp_path)
    assert (tmp_path / "sightline.db").exists()


def test_a_demo_takes_other_ports_than_a_site_that_runs_already() -> None:
    with contextlib.ExitStack() as stack:
        first = free_ports(12)
        stack.enter_context(socket.create_server(("127.0.0.1", first + 5)))
        assert free_ports(12) not in range(first - 11, first + 6)

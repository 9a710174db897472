from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.addresses import check_file, parse_address, redact
from pipeline.adapters.sources import SOURCES, check_address
from pipeline.errors import ConfigurationError

passwords = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="-_.!~*'@"), min_size=6)


@given(passwords)
def test_a_password_is_shown_nowhere(password: str) -> None:
    password = f"Zq{password}"  # no part of the rest of the address
    address = parse_address(f"rtsp://joe:{password}@camera.local:554/stream")
    shown = f"{address} {address!r} {address.public} {address.without_secrets(f'{address.url} failed: {password}')}"
    assert password not in shown
    assert "camera.local:554/stream" in address.public


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://joe:hunter2@host/a",
        "rtsp://host/user=admin_password=hunter2_channel=1_stream=0.sdp",
        "http://host/mjpg?user=joe&pwd=hunter2",
        "http://host/live?token=hunter2&x=1",
        "rtsps://joe:12/hunter2@host/a",
        "could not open rtsp://joe:hunter2@host/a and http://joe:hunter2@other/b",
    ],
)
def test_redaction_knows_where_cameras_take_passwords(text: str) -> None:
    assert "hunter2" not in redact(text)
    assert "host" in redact(text)


def test_an_encoded_password_is_hidden_in_both_spellings() -> None:
    address = parse_address("rtsp://joe:p%40ssword@host/a")
    assert address.without_secrets("p%40ssword or p@ssword") == "*** or ***"


@pytest.mark.parametrize("text", ["rtsp://joe:pa/ss-hunter2@host/a", "rtsp:///path-hunter2", "rtsp://host:hunter2/"])
def test_an_unreadable_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_address(text)
    assert "hunter2" not in str(refusal.value)


def test_anything_without_a_scheme_is_a_file() -> None:
    assert parse_address("videos/yard.mp4").is_file
    assert parse_address("file:///videos/yard%20one.mp4").url == "/videos/yard one.mp4"


def test_an_unknown_scheme_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        check_address(parse_address("gopher://host/stream"))
    assert all(scheme in str(refusal.value) for scheme in SOURCES if scheme != "file")


def test_files_that_cannot_be_videos_are_named_with_the_fault(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    for name, fault in (("missing.mp4", "does not exist"), ("empty.mp4", "is empty"), (".", "is a folder")):
        with pytest.raises(ConfigurationError, match=fault):
            check_file(parse_address(str(tmp_path / name)))

"""Files of every kind through the real decoder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters import av_source
from pipeline.adapters.addresses import parse_address
from pipeline.adapters.av_source import AvSource
from pipeline.adapters.source_options import SourceOptions
from pipeline.adapters.sources import open_source
from pipeline.contracts import CameraId, Frame
from pipeline.errors import ConfigurationError, StreamEnded
from tests.fakes import HandClock

DATA = os.environ.get("SIGHTLINE_DATA")
ALL = SourceOptions(target_fps=None, in_real_time=False, starts_at=0.0)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`clip.mp4` (50 frames, 10 fps, index first), `raw.264` and `big.264` (another size) in one folder."""
    folder = tmp_path_factory.mktemp("videos")
    _encode(folder / "clip.mp4", "320x240", "-movflags", "+faststart", "-bf", "2")
    _encode(folder / "raw.264", "320x240")
    _encode(folder / "big.264", "640x360")
    return folder


def _encode(target: Path, size: str, *options: str) -> None:
    source = f"testsrc2=size={size}:rate=10:duration=5"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-g", "10"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", *options, str(target)], check=True, timeout=60)


def _source(path: Path, options: SourceOptions = ALL, clock: HandClock | None = None) -> AvSource:
    source = open_source(CameraId("gate"), parse_address(str(path)), options, clock or HandClock())
    assert isinstance(source, AvSource)
    return source


def _frames(source: AvSource) -> list[Frame]:
    frames = []
    try:
        while True:
            frames.append(source.read())
    except StreamEnded:
        return frames
    finally:
        source.close()


def test_a_file_gives_every_frame_at_its_time(videos: Path) -> None:
    frames = _frames(_source(videos / "clip.mp4"))
    assert [frame.captured_at for frame in frames] == pytest.approx([n / 10 for n in range(50)])
    assert [frame.index for frame in frames] == list(range(50))
    assert {frame.image.shape for frame in frames} == {(240, 320, 3)}


def test_a_raw_stream_gets_its_times_from_the_rate_in_its_codec(videos: Path) -> None:
    frames = _frames(_source(videos / "raw.264"))
    assert [frame.captured_at for frame in frames] == pytest.approx([n / 10 for n in range(50)])


def test_frames_above_the_target_rate_are_counted_and_not_given(videos: Path) -> None:
    source = _source(videos / "clip.mp4", SourceOptions(target_fps=5.0, in_real_time=False, starts_at=0.0))
    assert len(_frames(source)) == 25
    assert source.counts.decoded == 50


def test_a_file_played_as_a_camera_takes_its_natural_time(videos: Path) -> None:
    clock = HandClock()
    began_at = clock.now()
    frames = _frames(_source(videos / "clip.mp4", SourceOptions(target_fps=None), clock))
    assert frames[0].captured_at == began_at
    assert clock.now() == pytest.approx(frames[-1].captured_at) == pytest.approx(began_at + 4.9)


def test_a_looping_file_goes_on_in_time_beyond_its_end(videos: Path) -> None:
    source = _source(videos / "clip.mp4", SourceOptions(target_fps=None, in_real_time=False, starts_at=0.0, loop=True))
    captured = [source.read().captured_at for _ in range(120)]
    source.close()
    assert captured == pytest.approx([n / 10 for n in range(120)])


def test_a_truncated_file_gives_what_is_readable_and_ends(videos: Path, tmp_path: Path) -> None:
    whole = (videos / "clip.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    assert 5 < len(_frames(_source(cut))) < 45


def test_damaged_packets_are_counted_and_the_rest_is_shown(videos: Path, tmp_path: Path) -> None:
    content = bytearray((videos / "clip.mp4").read_bytes())
    rng = np.random.default_rng(7)
    half = len(content) // 2
    content[half : half + 20_000] = rng.bytes(20_000)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    source = _source(damaged)
    assert len(_frames(source)) > 20
    assert source.counts.corrupt > 0


def test_a_change_of_resolution_in_mid_stream_is_followed(videos: Path, tmp_path: Path) -> None:
    joined = tmp_path / "joined.264"
    joined.write_bytes((videos / "raw.264").read_bytes() + (videos / "big.264").read_bytes())
    sizes = [frame.image.shape[:2] for frame in _frames(_source(joined))]
    assert sizes.count((240, 320)) == sizes.count((360, 640)) == 50


def test_pictures_beyond_the_limit_are_scaled_down(videos: Path) -> None:
    options = SourceOptions(target_fps=None, in_real_time=False, max_pixels=160 * 120)
    assert {frame.image.shape for frame in _frames(_source(videos / "clip.mp4", options))} == {(120, 160, 3)}


@pytest.mark.parametrize("name", ["words.mp4", "words.txt", "playlist.m3u8", "empty.mp4", "missing.mp4"])
def test_what_is_no_video_is_named_with_what_was_expected(name: str, videos: Path, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.startswith("words"):
        path.write_text("These are words, and not a video.\n" * 200)
    elif name.startswith("playlist"):  # would read other files
        path.write_text(f"#EXTM3U\n#EXTINF:5,\nfile://{videos / 'clip.mp4'}\n#EXT-X-ENDLIST\n")
    elif name.startswith("empty"):
        path.touch()
    with pytest.raises(ConfigurationError, match=f"{name}.*expected a readable video"):
        _frames(_source(path))


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
def test_no_stream_leads_to_a_file_or_to_another_program(scheme: str) -> None:
    """Whatever playlist or redirection a hostile camera sends: FFmpeg opens nothing outside of this list."""
    allowed = set(av_source._PROTOCOLS[scheme].split(","))
    assert allowed.isdisjoint({"file", "concat", "subfile", "data", "pipe", "fd", "ftp", "gopher", "unix", "cache"})


def test_a_file_with_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mkv"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=1", str(path)]
    subprocess.run(command, check=True, timeout=60)
    with pytest.raises(ConfigurationError, match=r"sound\.mkv.*no video in it"):
        _source(path)


@pytest.mark.data
@pytest.mark.skipif(DATA is None, reason="SIGHTLINE_DATA is not set")
def test_a_real_raw_stream_without_a_frame_count_is_read_to_its_end() -> None:
    frames = _frames(_source(Path(DATA or "") / "video/intel-people/people-detection.264"))
    assert len(frames) == 596
    assert frames[0].image.shape == (432, 768, 3)
    assert frames[-1].captured_at == pytest.approx(595 / 12)  # 12 frames per second stand in the codec alone

"""The RTSP server of the tests is a real one."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.videos import write_videos
from tests.rtsp_server import rtsp_server, unavailable

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable())


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = SimulatedSite(1, cameras=1, people=2, size_px=(160, 90))
    return write_videos(site, tmp_path_factory.mktemp("rtsp"), 1.0, fps=20)[0]


def count_frames(url: str, at_most: int, transport: str = "tcp") -> int:
    with av.open(url, options={"rtsp_transport": transport}, timeout=10) as container:
        return sum(1 for _, _ in zip(range(at_most), container.decode(video=0), strict=False))


def test_a_stream_loops_over_udp_and_comes_back_on_its_port_after_a_kill(video: Path) -> None:
    with rtsp_server({"gate": video}) as server:
        assert count_frames(server["gate"], 30, "udp") == 30
        before = server["gate"]
        server.kill()
        with pytest.raises(OSError, match="refused"):
            count_frames(before, 1)
        server.start()
        assert server["gate"] == before
        assert count_frames(before, 3) == 3


def test_a_stream_that_does_not_loop_ends_with_its_file(video: Path) -> None:
    with rtsp_server({"gate": video}, loops=False) as server:
        assert count_frames(server["gate"], 60) == 20


def test_a_protected_stream_wants_its_password(video: Path) -> None:
    with rtsp_server({"gate": video}, user="viewer", password="open-sesame") as server:
        assert count_frames(server["gate"], 2) == 2
        with pytest.raises(av.error.HTTPUnauthorizedError):
            count_frames(server["gate"].replace("open-sesame", "wrong"), 1)


def test_a_file_without_video_is_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_bytes(b"this is no video")
    with pytest.raises(RuntimeError, match="did not start"), rtsp_server({"gate": tmp_path / "no.mp4"}):
        pass

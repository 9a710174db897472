"""A real RTSP server on loopback for tests, from Debian's GStreamer.

Tests use `rtsp_server`; it starts this same file under Debian's Python, which has the bindings
(`apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good
gstreamer1.0-plugins-bad`). H.264 is passed on as it is, in real time, over TCP and UDP.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

DEBIAN_PYTHON = "/usr/bin/python3"
_OPEN_S = 10
_ELEMENTS = ("qtdemux", "h264parse", "rtph264pay", "appsrc", "appsink")


class RtspServer(Mapping[str, str]):
    """A running server as a mapping of stream names to addresses. May be killed and started again on its port."""

    def __init__(self, videos: Mapping[str, Path], *, loops: bool, user: str, password: str) -> None:
        self.port = 0
        self._videos = dict(videos)
        self._options = [*(["--loop"] if loops else []), "--user", user, "--password", password]
        self._credentials = f"{user}:{password}@" if user else ""
        self._process: subprocess.Popen[str] | None = None

    def __getitem__(self, name: str) -> str:
        if name not in self._videos:
            raise KeyError(name)
        return f"rtsp://{self._credentials}127.0.0.1:{self.port}/{name}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._videos)

    def __len__(self) -> int:
        return len(self._videos)

    def start(self) -> None:
        """Serve, on the same port as before if there was one. Returns when clients may connect."""
        streams = [f"{name}={Path(path).resolve()}" for name, path in self._videos.items()]
        command = [DEBIAN_PYTHON, __file__, *self._options, str(self.port), *streams]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        ready = self._process.stdout.readline()
        if not ready.startswith("ready "):
            _, complaint = self._process.communicate()
            raise RuntimeError(f"the RTSP server did not start: {complaint.strip()[-2000:]}")
        self.port = int(ready.split()[1])

    def freeze(self) -> None:
        """Hang, as a camera whose program is stuck: connections stay open and are accepted, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End at once, as a camera that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def rtsp_server(
    videos: Mapping[str, Path], *, loops: bool = True, user: str = "", password: str = ""
) -> Iterator[RtspServer]:
    """Serve H.264 files: `with rtsp_server({"lobby": path}) as urls: open(urls["lobby"])`.

    A looping stream plays its file again and again with times that go on; otherwise it ends with the file. With a user,
    clients must log in, and the addresses hold the credentials.
    """
    server = RtspServer(videos, loops=loops, user=user, password=password)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@lru_cache(maxsize=1)
def unavailable() -> str:
    """Why no server can run here, for a skip; empty if one can."""
    if not Path(DEBIAN_PYTHON).exists():
        return f"{DEBIAN_PYTHON} is missing"
    check = subprocess.run(
        [DEBIAN_PYTHON, __file__, "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    return "" if check.returncode == 0 else f"no GStreamer RTSP server: {check.stderr.strip().splitlines()[-1:]}"


# --- under Debian's Python ------------------------------


def _bindings() -> Any:
    import gi

    for name in ("Gst", "GstApp", "GstRtspServer"):
        gi.require_version(name, "1.0")
    from gi.repository import GLib, Gst, GstApp, GstRtspServer

    Gst.init(None)
    missing = [element for element in _ELEMENTS if Gst.ElementFactory.find(element) is None]
    if missing:
        raise SystemExit(f"GStreamer lacks {', '.join(missing)}")
    return GLib, Gst, GstApp, GstRtspServer


def _serve(port: int, videos: Mapping[str, str], loops: bool, user: str, password: str) -> None:
    glib, gst, _, rtsp = _bindings()
    server = rtsp.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    if user:
        auth, token = rtsp.RTSPAuth.new(), rtsp.RTSPToken.new()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(rtsp.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
    for name, path in videos.items():
        factory = rtsp.RTSPMediaFactory()
        factory.set_shared(True)
        factory.set_launch(
            "( appsrc name=source is-live=true format=time "
            "! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )"
        )
        if user:
            permissions = rtsp.RTSPPermissions.new()
            for allowed in ("media.factory.access", "media.factory.construct"):
                permissions.add_permission_for_role("viewer", allowed, True)
            factory.set_permissions(permissions)
        factory.connect("media-configure", _feed_media, gst, _read_samples(gst, path), loops)
        server.get_mount_points().add_factory(f"/{name}", factory)
    if not server.attach(None):
        raise SystemExit(f"port {port} is taken")
    print("ready", server.get_bound_port(), flush=True)  # noqa: T201  # the parent waits for this line
    glib.MainLoop().run()


def _read_samples(gst: Any, path: str) -> list[Any]:
    """All access units of a file, in decoding order."""
    pipeline = gst.parse_launch(f'filesrc location="{path}" ! qtdemux ! h264parse ! appsink name=sink sync=false')
    sink = pipeline.get_by_name("sink")
    pipeline.set_state(gst.State.PLAYING)
    started = pipeline.get_bus().timed_pop_filtered(
        _OPEN_S * gst.SECOND, gst.MessageType.ASYNC_DONE | gst.MessageType.ERROR
    )
    samples = []
    is_readable = started is not None and started.type == gst.MessageType.ASYNC_DONE
    while is_readable and (sample := sink.pull_sample()) is not None:
        samples.append(sample)
    pipeline.set_state(gst.State.NULL)
    if not samples:
        raise SystemExit(f"{path} holds no H.264")
    return samples


def _feed_media(_factory: Any, media: Any, gst: Any, samples: list[Any], loops: bool) -> None:
    """Feed a new client group from the first sample on, whenever the source wants more."""
    source = media.get_element().get_by_name_recurse_up("source")
    source.set_property("caps", samples[0].get_caps())
    played_ns = max(sample.get_buffer().pts + sample.get_buffer().duration for sample in samples)
    position = 0

    def push(appsrc: Any, _wanted_bytes: int) -> None:
        nonlocal position
        turn, number = divmod(position, len(samples))
        if turn and not loops:
            appsrc.emit("end-of-stream")
            return
        buffer = samples[number].get_buffer().copy()
        buffer.pts += turn * played_ns
        if buffer.dts != gst.CLOCK_TIME_NONE:
            buffer.dts += turn * played_ns
        position += 1
        appsrc.emit("push-buffer", buffer)

    source.connect("need-data", push)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Serve H.264 files over RTSP on loopback; port 0 takes a free one.")
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("streams", nargs="*", metavar="NAME=FILE.mp4")
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--check", action="store_true", help="only say whether all parts are installed")
    arguments = parser.parse_args()
    if arguments.check:
        _bindings()
        return
    videos = dict(stream.split("=", 1) for stream in arguments.streams)
    _serve(arguments.port, videos, arguments.loop, arguments.user, arguments.password)


if __name__ == "__main__":
    sys.exit(_main())

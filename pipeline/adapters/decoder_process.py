"""A child process that decodes one stream, as its worker sees it: events, frames, and an end that cannot be refused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pipeline
from pipeline.adapters.frame_slot import FrameSlot
from pipeline.adapters.source_options import SourceOptions

Policy = Literal["latest", "every"]

_CHILD = "pipeline.adapters.decode_child"
_POLITE_S = 0.5
_LAST_WORDS_BYTES = 600


class EventKind(StrEnum):
    LOST = "lost"  # the stream broke or did not come: try again later
    BACK = "back"  # after `lost`: a server that was silent answers again
    ENDED = "ended"  # recorded video has given its last frame
    REFUSED = "refused"  # this address can never work


@dataclass(frozen=True, slots=True)
class DecoderEvent:
    """What the child has to say besides frames. `text` is for the operator and holds no secret."""

    kind: EventKind
    text: str


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """What the child is to do. It travels through a pipe: arguments and environment are visible to other users."""

    camera_id: str
    address: str = dataclasses.field(repr=False)  # with credentials
    options: SourceOptions
    policy: Policy
    slot_descriptor: int
    seed: int

    def to_line(self) -> bytes:
        return json.dumps(dataclasses.asdict(self)).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> DecodeRequest:
        values = json.loads(line)
        return cls(**values | {"options": SourceOptions(**values["options"])})


class DecoderProcess:
    """`Decoder` in production. Raises `OSError` if no process can be started."""

    def __init__(self, request: DecodeRequest, slot: FrameSlot) -> None:
        self._unread = b""
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        # -P and our own folder first: a file named like one of our modules in the current folder is never run.
        home = str(Path(pipeline.__file__).parents[1])
        paths = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _CHILD],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._last_words,
                pass_fds=(slot.descriptor,),
                env=os.environ | {"PYTHONPATH": paths},
            )
        except OSError:
            self._last_words.close()
            raise
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdout.fileno(), False)
        self._write(request.to_line())

    @property
    def pid(self) -> int:
        return self._process.pid

    def next_event(self) -> DecoderEvent | None:
        """The next thing that the child said, if any."""
        if b"\n" not in self._unread:
            with contextlib.suppress(BlockingIOError):
                self._unread += os.read(self._stdout.fileno(), 65536)
        line, separator, rest = self._unread.partition(b"\n")
        if not separator:
            return None
        self._unread = rest
        kind, text = json.loads(line)
        return DecoderEvent(EventKind(kind), text)

    def frame_taken(self) -> None:
        """Tell a child of the policy `every` that it may put the next frame."""
        self._write(b".")

    def exit_note(self) -> str | None:
        """Why the process is gone, None while it runs. May quote its error output: hide secrets before showing it."""
        code = self._process.poll()
        if code is None:
            return None
        self._last_words.seek(max(0, self._last_words.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
        words = self._last_words.read().decode(errors="replace").strip()
        return f"the decoder process ended with code {code}" + (f": {words}" if words else "")

    def stop(self) -> None:
        """Let the child say good-bye to its camera, but not for long."""
        self._stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_POLITE_S)
        self.kill()

    def kill(self) -> None:
        """End the child at once, whatever it does."""
        self._process.kill()
        # One that hangs in the kernel (a dead network disk) is left for the system to bury.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_POLITE_S)
        for file in (self._stdin, self._stdout, self._last_words):
            file.close()

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # the exit is noticed by `exit_note`
            self._stdin.write(data)

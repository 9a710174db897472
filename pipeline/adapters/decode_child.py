"""The child process that decodes one stream. Started by `DecoderProcess`; a crash or a hang in it harms nobody else.

Standard input brings the request, then one byte for each frame that was taken; its end means that the worker is gone.
Standard output carries events as JSON lines. Frames go through shared memory.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from io import FileIO
from typing import Protocol, runtime_checkable

from pipeline.adapters.addresses import parse_address
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.decoder_process import DecodeRequest, EventKind
from pipeline.adapters.frame_slot import FrameSlot
from pipeline.adapters.knock import has_door, wait_until_back
from pipeline.adapters.source_options import SourceCounts
from pipeline.adapters.sources import open_source
from pipeline.contracts import CameraId
from pipeline.errors import ConfigurationError, StreamEnded, StreamLost
from pipeline.interfaces import FrameSource

_GOOD_BYE_S = 0.4

Tell = Callable[[EventKind, str], None]


@runtime_checkable
class _Counting(Protocol):
    counts: SourceCounts


class Parent:
    """The worker at the other end of the pipe. When it goes, so does this process."""

    def __init__(self, pipe: FileIO) -> None:
        self.has_left = False
        self._pipe = pipe
        self._taken = threading.Semaphore(1)  # the first frame need not wait
        threading.Thread(target=self._listen, daemon=True).start()

    def wait_until_taken(self) -> None:
        """Block until the last frame was taken."""
        self._taken.acquire()

    def _listen(self) -> None:
        while self._pipe.read(1):
            self._taken.release()
        self.has_left = True
        self._taken.release()
        time.sleep(_GOOD_BYE_S)  # the main thread closes the stream in this time, unless it hangs
        os._exit(0)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the worker decides when to stop
    # Whatever a library prints must not get between the events.
    events = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def tell(kind: EventKind, text: str) -> None:
        os.write(events, json.dumps([kind, text]).encode() + b"\n")

    pipe = FileIO(sys.stdin.fileno())
    run(DecodeRequest.from_line(pipe.readline()), Parent(pipe), tell)


def run(request: DecodeRequest, parent: Parent, tell: Tell) -> None:
    """Decode until the stream or the worker ends, and say how it ended."""
    address = parse_address(request.address)
    clock = SystemClock()
    slot = FrameSlot(request.slot_descriptor, request.options.max_pixels)
    try:
        source = open_source(CameraId(request.camera_id), address, request.options, clock)
        _pump(source, slot, parent, paces_reader=request.policy == "every")
    except StreamEnded as end:
        tell(EventKind.ENDED, str(end))
    except ConfigurationError as error:
        tell(EventKind.REFUSED, str(error))
    except StreamLost as error:
        tell(EventKind.LOST, str(error))
        if has_door(address) and wait_until_back(address, clock, random.Random(request.seed)):
            tell(EventKind.BACK, "")
    except (
        Exception
    ) as error:  # whatever a library throws: one line for the operator, never a traceback with a password
        tell(EventKind.LOST, f"{type(error).__name__}: {address.without_secrets(str(error))}")


def _pump(source: FrameSource, slot: FrameSlot, parent: Parent, paces_reader: bool) -> None:
    counts = SourceCounts()
    try:
        while not parent.has_left:
            frame = source.read()
            if paces_reader:
                parent.wait_until_taken()
            slot.put(frame.image, frame.index, frame.captured_at)
            counts = source.counts if isinstance(source, _Counting) else SourceCounts(decoded=frame.index + 1)
            slot.note(counts)
    finally:
        slot.note(source.counts if isinstance(source, _Counting) else counts)
        source.close()


if __name__ == "__main__":
    main()

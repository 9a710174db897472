"""Asking a camera's server for a sign of life, which is far cheaper than opening its stream."""

from __future__ import annotations

import random
import socket

from pipeline.adapters.addresses import CameraAddress
from pipeline.interfaces import Clock

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
# A machine that hangs still accepts connections in its kernel; only its server answers a question. No credentials.
_QUESTIONS = {"rtsp": b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "http": b"HEAD / HTTP/1.0\r\n\r\n"}
_PATIENCE_S = 2.0
_PAUSE_S = 1.0


def has_door(address: CameraAddress) -> bool:
    """Whether the address is one of a server that can be knocked at."""
    return address.scheme in _PORTS


def answers(address: CameraAddress, patience_s: float = _PATIENCE_S) -> bool:
    """Whether the server accepts a connection and, where it speaks without encryption, answers anything at all."""
    host, port = address.host_and_port
    question = _QUESTIONS.get(address.scheme)
    try:
        with socket.create_connection((host, port or _PORTS[address.scheme]), patience_s) as connection:
            if question is None:
                return True
            connection.sendall(question)
            return bool(connection.recv(1))
    except OSError:
        return False


def wait_until_back(address: CameraAddress, clock: Clock, rng: random.Random) -> bool:
    """True as soon as a silent server answers again; False at once if it answers already (it only refuses us)."""
    if answers(address):
        return False
    while not answers(address):
        # Spread out, so that a hundred cameras behind one switch are not all opened in the same moment.
        clock.sleep(_PAUSE_S * rng.uniform(0.5, 1.5))
    return True

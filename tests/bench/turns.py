"""Programs that are measured in turns, each in a process of its own, so that what else the machine does strikes all.

A child says `ready`, then answers every line with a rate: units of work per second.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from pipeline.runtimes.machine import MALLOC
from pipeline.runtimes.timing import pass_seconds

LEAST_PASSES = 2


@dataclass
class Player:
    """One program: a module of this folder with arguments, in its own process."""

    module: str
    arguments: Sequence[str]
    threads: int
    rates: list[float] = field(default_factory=list)
    problem: str = ""
    _process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Wait until it is ready; a failing one has a `problem` from then on."""
        command = [sys.executable, "-m", self.module, *self.arguments]
        environment = {**os.environ, **MALLOC, "OMP_NUM_THREADS": str(self.threads)}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if self._process.stdout is None or self._process.stdout.readline().strip() != "ready":
            self.problem = ((self._process.communicate()[1] or "").strip().splitlines() or ["ended at once"])[-1][:200]

    def play(self) -> None:
        """One measurement."""
        process = self._process
        if self.problem or process is None or process.stdin is None or process.stdout is None:
            return
        process.stdin.write("\n")
        process.stdin.flush()
        self.rates.append(float(process.stdout.readline()))

    def stop(self) -> None:
        if self._process is not None:
            self._process.communicate()


def take_turns(players: Mapping[str, Player], rounds: int) -> None:
    """Measure everyone once in each round, after a first round that only warms up."""
    with ExitStack() as stack:
        for player in players.values():
            stack.callback(player.stop)
            player.start()
        for _ in range(1 + rounds):
            for player in players.values():
                player.play()
    for player in players.values():
        del player.rates[:1]


def ratio(player: Player, to: Player) -> float:
    """Median over the rounds of one's rate by another's in the same round."""
    return statistics.median(own / other for own, other in zip(player.rates, to.rates, strict=True))


def serve_turns(work: Callable[[], object], units: int, duration_s: float) -> None:
    """What a child does: `work`, which is worth `units`, again and again for `duration_s` at each line of input."""
    work()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        taken_s = pass_seconds(work, duration_s, LEAST_PASSES)
        sys.stdout.write(f"{units / statistics.median(taken_s)}\n")
        sys.stdout.flush()

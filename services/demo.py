"""`sightline demo`: the real system on simulated cameras, three questions, and the truth beside the answers.

Everything runs as in production; only the frames are rendered instead of received, so that what is true is known.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.errors import ConfigurationError
from services.console import clock, started
from services.evaluation.system import Answer, Summary, ask_all, drained, lost_frames, summarise
from services.runtime import open_store
from services.settings import Settings, load
from services.up import LOCK_NAME, RunningSystem, only_one, running_system

if TYPE_CHECKING:
    from pipeline.adapters.simulation.words import TrueQuery
    from services.evaluation.simulated_run import SimulatedRun

CAMERA_NAMES = ("gate", "lobby", "yard", "corridor", "stairs", "garden", "bridge", "platform")
DEFAULT_DURATION_S = 60.0
_MARK = ".sightline-demo"  # in folders that may be emptied
_TOLD_QUESTIONS = 3
_FPS = 8.0
_METRICS_PORTS = 12  # at most two camera workers, six other services, the supervisor
_DRAIN_S = 20.0  # what was seen last still travels to its identity


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to simulate. Without `duration_s` a terminal keeps the system running until Ctrl-C."""

    cameras: int
    people: int
    seed: int
    port: int
    data_dir: Path
    duration_s: float | None


def run_demo(plan: DemoPlan, console: Console, json_file: Path | None) -> int:
    """Run, narrate, compare; the exit code is 1 if any service failed."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    empty_folder(plan.data_dir)
    duration_s = plan.duration_s or DEFAULT_DURATION_S
    settings = _settings(plan, start_at=float(int(time.time())))
    console.print(
        f"\n[bold]Sightline[/] on a simulated site: {plan.cameras} cameras, {plan.people} people who come and go."
    )
    with running_system(settings) as system:
        if not started(system, console, stop):
            return 0 if stop.is_set() else 1
        console.print(f"  Every service is a process of its own. Watch: [bold cyan]{system.page}[/]\n")
        ready_at = time.time()
        _watch(system, duration_s, console, stop)
        run = _simulated_run(settings)
        answers = _ask(system, run, console)
        if plan.duration_s is None and console.is_terminal and not stop.is_set():
            console.print(f"\n  It goes on; ask for yourself at [bold cyan]{system.page}[/]. Ctrl-C stops it.")
            while not stop.wait(1.0) and not system.supervisor.is_broken:
                system.supervisor.poll()
        with console.status("Stopping in order: cameras, embedder, archiver, matcher, watcher, API, bus…"):
            lost = lost_frames(system)
            system.supervisor.stop("camera")
            is_drained = drained(system, _DRAIN_S)
            system.supervisor.stop()
            summary = summarise(system, run, answers, lost, is_drained, ready_at)
    _tell(summary, console)
    if json_file is not None:
        json_file.write_text(json.dumps(asdict(summary), indent=2) + "\n", encoding="utf-8")
    return 1 if summary.failures or not is_drained else 0


def empty_folder(folder: Path) -> None:
    """Remove what an earlier demo left, and mark the folder as a demo's.

    Raises `ConfigurationError` for a folder that holds anything else, or that a demo uses now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / _MARK).exists():
        raise ConfigurationError(
            f"{folder} would be emptied, but holds files that are not of a demo; give an empty folder as --data-dir"
        )
    with only_one(folder / "run"):
        for entry in folder.iterdir():
            if entry.name not in ("run", _MARK):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for entry in (folder / "run").iterdir():
            if entry.name != LOCK_NAME:
                entry.unlink()
        (folder / _MARK).touch()


def _settings(plan: DemoPlan, start_at: float) -> Settings:
    from pipeline.adapters.simulated_site import SimulatedAddress

    def address(number: int) -> str:
        return str(SimulatedAddress(plan.seed, plan.cameras, number, plan.people, fps=_FPS, start_at=start_at))

    return load(
        None,
        {
            "site": "demo",
            "data_dir": plan.data_dir,
            "api": {"port": plan.port},
            "metrics_port": free_ports(_METRICS_PORTS),
            "cameras": [
                {"id": name, "address": address(number), "analysed_fps": _FPS}
                for number, name in enumerate(CAMERA_NAMES[: plan.cameras])
            ],
            "tracking": {"detector": "person-nano", "log_tracks": True},
        },
    )


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody uses: a demo may run beside a real site."""
    for first in range(9400, 9900, count):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    return 0


def _watch(system: RunningSystem, duration_s: float, console: Console, stop: threading.Event) -> None:
    """A progress bar with what the system knows so far; without a terminal only its end."""
    store = open_store(system.settings)
    columns = (TextColumn("  [progress.description]{task.description}"), BarColumn(), TimeElapsedColumn())
    began_s = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task("Watching", total=duration_s)
        while (elapsed_s := time.monotonic() - began_s) < duration_s and not stop.is_set():
            system.supervisor.poll()
            counts = store.counts()
            words = f"{counts.tracklets} tracklets, {counts.identities} people"
            progress.update(bar, completed=elapsed_s, description=words)
            stop.wait(1.0)
    console.print(
        f"  After {duration_s:.0f} s: {store.counts().tracklets} tracklets of {store.counts().identities} people."
    )


def _simulated_run(settings: Settings) -> SimulatedRun:
    from pipeline.adapters.simulated_site import parse_simulated_address
    from services.evaluation.simulated_run import SimulatedRun

    addresses = {c.id: parse_simulated_address(c.address.get_secret_value()) for c in settings.cameras}
    cameras = {name: (address.camera, address.epoch_at) for name, address in addresses.items()}
    return SimulatedRun(next(iter(addresses.values())).site(), cameras)


def _ask(system: RunningSystem, run: SimulatedRun, console: Console) -> list[Answer]:
    """Ask every question that is true of somebody seen; print three of them with the routes found."""
    asked = ask_all(system, run)
    if not asked:
        console.print("  Nobody was seen long enough to be asked for.")
    for index in sorted(set(np.linspace(0, len(asked) - 1, _TOLD_QUESTIONS).astype(int))) if asked else []:
        console.print(_answer_table(*asked[index]))
    return [answer for _, answer, _ in asked]


def _answer_table(question: TrueQuery, answer: Answer, found: Sequence[dict[str, Any]]) -> Table:
    mark = "[green]true[/]" if answer.is_right else "[red]not true[/]"
    table = Table(
        "person", "confidence", "route",
        title=f"\n“{question.sentence}”", title_justify="left", title_style="bold", box=None, padding=(0, 2),
        caption=f"  Of the first person this is {mark}.", caption_justify="left",
    )  # fmt: skip
    from services.api.words import share_in_words

    for person in found:
        stays = [f"{clock(stay['started_at'])} {stay['camera_id']}" for stay in person["route"]]
        table.add_row(str(person["global_id"]), share_in_words(person["confidence"]), " → ".join(stays))
    return table


def _tell(summary: Summary, console: Console) -> None:
    table = Table(
        title="\nCompared with the truth", title_justify="left", title_style="bold", box=None, show_header=False
    )
    latency = summary.capture_to_identity_p95_s
    rows = {
        "people seen / identities opened": f"{summary.people_seen} / {summary.identities}",
        "following inside each camera": f"IDF1 {summary.tracking_idf1:.3f}, MOTA {summary.tracking_mota:.3f}",
        "one identity across cameras": f"IDF1 {summary.cross_camera_idf1:.3f}",
        "first answer is true": f"{summary.query_precision_at_1:.0%} of {summary.queries} questions",
        "from last frame to identity, p95": "none yet" if latency is None else f"{latency:.1f} s",
        "frames": f"{summary.frames_analysed} analysed, lost {sum(summary.frames_lost.values()):.0f}",
    }
    for name, value in rows.items():
        table.add_row(f"  {name}", value)
    console.print(table)
    for name, codes in summary.failures.items():
        console.print(f"  [red]{name} ended with {codes}[/]")
    if not summary.is_drained:
        console.print(f"  [red]After {_DRAIN_S:.0f} s messages were still waiting.[/]")

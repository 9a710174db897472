"""What `sightline` shows on a terminal: the running system, answers, dead letters."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.interfaces import DeadLetter
from services.settings import Settings

if TYPE_CHECKING:
    from services.query import PersonFound, QueryAnswer
    from services.up import RunningSystem

START_TIMEOUT_S = 180.0


def watch(settings: Settings, console: Console) -> int:
    """Run everything until Ctrl-C or SIGTERM; the exit code."""
    from services.up import running_system

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with running_system(settings) as system:
        if not started(system, console, stop):
            return 0 if stop.is_set() else 2 if system.supervisor.is_broken else 1
        console.print(
            f"\n  Sightline watches {len(settings.cameras)} cameras. Open [bold cyan]{system.page}[/]  (Ctrl-C stops)\n"
        )
        while not stop.wait(1.0) and not system.supervisor.is_broken:
            system.supervisor.poll()
        with console.status("Stopping in order: cameras, embedder, archiver, matcher, watcher, API, bus…"):
            system.supervisor.stop()
    return 2 if system.supervisor.is_broken else 0


def started(system: RunningSystem, console: Console, stop: threading.Event) -> bool:
    """Wait, with a word about what is awaited, until every service works. Prints the log of one that cannot."""
    with console.status("Starting…") as status:

        def tell(missing: list[str]) -> None:
            status.update(f"Starting… waiting for {', '.join(missing)}")
            if stop.is_set():
                system.supervisor.is_broken = True

        ready = system.supervisor.wait_until_ready(START_TIMEOUT_S, tell)
    if not ready and not stop.is_set():
        for name in system.supervisor.failures():
            lines = system.supervisor.log_path(name).read_text(errors="replace").splitlines()
            told = "\n".join(escape(line) for line in lines[-8:])
            console.print(f"[bold red]{name}[/] did not start:\n{told}", highlight=False)
    return ready


def print_dead_letters(letters: Sequence[DeadLetter], console: Console) -> None:
    """One row each: entry id, where it failed, when and why."""
    if not letters:
        console.print("Nothing was set aside.")
        return
    table = Table("entry", "stream", "group", "failed", "reason", box=None, header_style="bold")
    for letter in letters:
        failed = datetime.fromtimestamp(letter.failed_at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(letter.entry_id, letter.stream.value, letter.group, failed, escape(letter.reason))
    console.print(table)


def print_query(answer: QueryAnswer, console: Console) -> None:
    """The people found, most probable first, with route and crops."""
    if answer.filters:
        words = ", ".join(f"“{filtered.words}”" for filtered in answer.filters)
        console.print(f"Filtered by {words}.", highlight=False, markup=False)
    console.print(answer.summary, highlight=False, markup=False)
    if not answer.people:
        return
    table = Table(
        "person", "confidence", "first seen", "last seen", "route", "best crop", box=None, header_style="bold"
    )
    for person in answer.people:
        route = " → ".join(f"{clock(stop.started_at)} {stop.camera_id}" for stop in person.route)
        confidence = _confidence(person)
        crop = person.crops[0] if person.crops else ""
        seen = (clock(person.first_seen_at), clock(person.last_seen_at))
        table.add_row(str(person.global_id), confidence, *seen, route, escape(crop))
    console.print(table)


def _confidence(person: PersonFound) -> str:
    if person.confidence is None:
        return ""
    from services.api.words import share_in_words

    return share_in_words(person.confidence) + ("" if person.is_confident else " (weak)")


def clock(at: float) -> str:
    """A moment as a local clock shows it; with the day if it is not today."""
    moment = datetime.fromtimestamp(at).astimezone()
    is_today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")

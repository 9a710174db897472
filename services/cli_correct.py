"""The commands `sightline correct …` and `sightline explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from pipeline.decisions import CorrectionKind
    from services.settings import Settings

app = typer.Typer(
    help="Say who is who: merge, split, same, not-same, and undo. The matcher obeys within seconds, and for ever.",
    no_args_is_help=True,
)
console = Console()

ConfigOption = Annotated[Path | None, typer.Option("-c", "--config", help="YAML file; see deploy/cameras.example.yaml")]
DataOption = Annotated[Path | None, typer.Option("--data-dir", help="Where everything is kept [default: var]")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who says so [default: the user of this machine]")]
NoteOption = Annotated[str, typer.Option("--note", help="Why; kept with it")]
PersonArgument = Annotated[int, typer.Argument(help="Number of a person")]
TrackletArgument = Annotated[str, typer.Argument(help="CAMERA/BOOT/TRACK/SEQUENCE")]


@app.command()
def merge(
    first: PersonArgument,
    second: PersonArgument,
    by: ByOption = None,
    note: NoteOption = "",
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Two persons are one; the number of the first stays."""
    from pipeline.decisions import CorrectionKind

    _correct(config, data_dir, CorrectionKind.MERGE, by, note, persons=[first, second])


@app.command()
def split(
    person: PersonArgument,
    tracklets: Annotated[list[str], typer.Argument(help="CAMERA/BOOT/TRACK/SEQUENCE …")],
    by: ByOption = None,
    note: NoteOption = "",
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """These tracklets of a person are somebody else, who gets a new number."""
    from pipeline.decisions import CorrectionKind

    _correct(config, data_dir, CorrectionKind.SPLIT, by, note, persons=[person], tracklets=tracklets)


@app.command()
def same(
    first: TrackletArgument,
    second: TrackletArgument,
    by: ByOption = None,
    note: NoteOption = "",
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Two tracklets show one person: their persons become one, with the number of the first."""
    from pipeline.decisions import CorrectionKind

    _correct(config, data_dir, CorrectionKind.SAME, by, note, tracklets=[first, second])


@app.command("not-same")
def not_same(
    first: TrackletArgument,
    second: TrackletArgument,
    by: ByOption = None,
    note: NoteOption = "",
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Two tracklets show two people: the second one's track leaves a person whom both have."""
    from pipeline.decisions import CorrectionKind

    _correct(config, data_dir, CorrectionKind.NOT_SAME, by, note, tracklets=[first, second])


@app.command()
def undo(
    number: Annotated[int, typer.Argument(help="Of a correction; see `sightline correct list`")],
    by: ByOption = None,
    note: NoteOption = "",
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """Take a correction back, as far as nothing has changed since."""
    from pipeline.decisions import CorrectionKind

    _correct(config, data_dir, CorrectionKind.UNDO, by, note, undoes=number)


@app.command("list")
def list_corrections(
    limit: Annotated[int, typer.Option(min=1)] = 50, config: ConfigOption = None, data_dir: DataOption = None
) -> None:
    """The newest corrections, newest first: who said what and when, and what came of it."""
    from rich.markup import escape
    from rich.table import Table

    from services.console import clock
    from services.corrections import correction_in_words, state_in_words
    from services.runtime import open_store

    store = open_store(_settings(config, data_dir))
    found = store.corrections(limit)
    store.close()
    if not found:
        console.print("Nothing was corrected.")
        return
    table = Table("number", "when", "by", "what", "what came of it", "note", box=None, header_style="bold")
    for each in found:
        words = (each.request.made_by, correction_in_words(each), state_in_words(each), each.request.note)
        table.add_row(str(each.number), clock(each.made_at), *(escape(word) for word in words))
    console.print(table)


def explain(tracklet: TrackletArgument, config: ConfigOption = None, data_dir: DataOption = None) -> None:
    """Why a tracklet belongs to its person: candidates, evidence, constraints, and what changed since."""
    from pipeline.audit import AuditAction
    from services.audited import record_at_terminal
    from services.console import clock
    from services.corrections import explained, explanation_in_words, viewed
    from services.runtime import open_store

    settings = _settings(config, data_dir)
    store = open_store(settings)
    try:
        found = explained(store, tracklet)
        record_at_terminal(settings, AuditAction.VIEW, viewed(found))
        for sentence in explanation_in_words(found, clock):
            console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    finally:
        store.close()


def _correct(
    config: Path | None,
    data_dir: Path | None,
    kind: CorrectionKind,
    by: str | None,
    note: str,
    persons: list[int] | None = None,
    tracklets: list[str] | None = None,
    undoes: int | None = None,
) -> None:
    from pipeline.adapters.clock import SystemClock
    from pipeline.audit import AuditAction
    from pipeline.contracts import GlobalId, TrackletId
    from pipeline.decisions import CorrectionRequest
    from services.audited import record_at_terminal, user_name
    from services.corrections import audited
    from services.runtime import open_store

    request = CorrectionRequest(
        kind=kind,
        made_by=by or user_name(),
        note=note,
        global_ids=tuple(GlobalId(number) for number in persons or ()),
        tracklet_ids=tuple(TrackletId(name) for name in tracklets or ()),
        undoes=undoes,
    )
    settings = _settings(config, data_dir)
    store = open_store(settings)
    try:
        record_at_terminal(settings, AuditAction.CORRECTION, kind.value, audited(request))
        number = store.add_correction(request, SystemClock().now())
    finally:
        store.close()
    console.print(
        f"Correction {number} is kept; the matcher applies it. `sightline correct list` says what came of it."
    )


def _settings(config: Path | None, data_dir: Path | None) -> Settings:
    from services.query import check_database
    from services.settings import load

    settings = load(config, {} if data_dir is None else {"data_dir": data_dir})
    check_database(settings.database)
    return settings

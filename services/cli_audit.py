"""The commands `sightline audit …`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from services.cli_options import ConfigOption, DataDirOption, settings_of

if TYPE_CHECKING:
    from pipeline.adapters.audit_store import AuditStore
    from pipeline.audit import AuditEntry

app = typer.Typer(
    help="Who searched, looked, corrected, erased and logged in; and whether somebody has changed the record since.",
    no_args_is_help=True,
)
console = Console()


@app.command("list")
def list_entries(
    limit: Annotated[int, typer.Option(min=1)] = 50, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """The newest entries, newest first."""
    from rich.markup import escape
    from rich.table import Table

    from services.console import clock

    with _audit(config, data_dir) as audit:
        entries = audit.newest(limit)
    if not entries:
        console.print("Nothing is recorded.")
        return
    table = Table("number", "when", "who", "did", "on what", "detail", box=None, header_style="bold")
    for entry in entries:
        words = (entry.actor, entry.action, entry.subject, "" if entry.detail == "{}" else entry.detail)
        table.add_row(str(entry.number), clock(entry.at), *(escape(word) for word in words))
    console.print(table)


@app.command()
def verify(
    head: Annotated[str | None, typer.Option(help="NUMBER:HASH that was kept; the record must lead through it")] = None,
    file: Annotated[Path | None, typer.Option(help="An export, instead of the database")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Check every entry; says which is the first that was changed, and prints the head. Exit code 1 if one was."""
    from pipeline.audit import Head, verified

    kept = None if head is None else Head.parse(head)
    if file is not None:
        found = verified(_exported(file), kept)
    else:
        with _audit(config, data_dir) as audit:
            found = verified(audit.entries(), kept)
    console.print(f"{found.number} entries, none changed. Head: {found}", highlight=False, soft_wrap=True)


@app.command()
def head(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Print NUMBER:HASH of the last entry. Keep it where nobody who runs this site can write: see `verify --head`."""
    with _audit(config, data_dir) as audit:
        sys.stdout.write(f"{audit.head()}\n")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="One JSON object on each line")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write the whole record to a file, which `verify --file` can check by itself."""
    from pipeline.audit import START, AuditAction
    from services.audited import terminal_user

    with _audit(config, data_dir) as audit:
        audit.record(terminal_user(), AuditAction.EXPORT, "the audit log")
        last = START
        with file.open("w", encoding="ascii") as lines:
            for entry in audit.entries():
                lines.write(entry.line() + "\n")
                last = entry.head
    console.print(f"{last.number} entries. Head: {last}", highlight=False, soft_wrap=True)


@contextmanager
def _audit(config: Path | None, data_dir: Path | None) -> Iterator[AuditStore]:
    from services.query import check_database
    from services.runtime import open_accounts

    settings = settings_of(config, data_dir)
    check_database(settings.database)
    accounts, audit = open_accounts(settings)
    try:
        yield audit
    finally:
        accounts.close()


def _exported(file: Path) -> Iterator[AuditEntry]:
    from pipeline.audit import AuditEntry
    from pipeline.errors import ConfigurationError

    try:
        with file.open(encoding="ascii", errors="replace") as lines:
            yield from (AuditEntry.of_line(line) for line in lines)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read ({error.strerror}); expected an export of the log") from error

"""The commands `sightline erase`, `receipts`, `retain` and `reseal`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipeline.errors import SightlineError
from services.cli_options import ConfigOption, DataDirOption, settings_of

if TYPE_CHECKING:
    from pipeline.adapters.store import SqlStore
    from pipeline.forgetting import Receipt
    from services.settings import Settings

console = Console()

_LOOK_EVERY_S = 0.5


def erase(
    person: Annotated[int, typer.Argument(help="Number of a person")],
    why: Annotated[str, typer.Option("--why", help="Stays on the receipt: a file number, and no name")],
    by: Annotated[str | None, typer.Option("--by", help="Who asks [default: the user of this machine]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again")] = False,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the end and its proof")] = 180.0,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Forget a person everywhere and for good. What is left is a receipt of numbers."""
    from pipeline.adapters.clock import SystemClock
    from pipeline.audit import AuditAction
    from pipeline.contracts import GlobalId
    from pipeline.forgetting import ErasureRequest
    from services.audited import record_at_terminal, user_name
    from services.erasing import (
        audited,
        found_in_words,
        looks_of,
        proof_in_words,
        receipt_in_words,
        request_erasure,
        search_by,
    )

    request = ErasureRequest(GlobalId(person), by or user_name(), why)
    settings = settings_of(config, data_dir)
    store = _store(settings)
    try:
        expected = store.rehearse_erasure(request.global_id)
        record_at_terminal(settings, AuditAction.ERASURE, f"person {person}", audited(request, is_rehearsal=True))
        console.print(f"Person {person}: {found_in_words(expected)}.", highlight=False, soft_wrap=True)
        if dry_run:
            console.print("Nothing was removed.")
            return
        if not yes:
            typer.confirm("Forget this person for good?", abort=True)
        looks = looks_of(store, request.global_id)
        record_at_terminal(settings, AuditAction.ERASURE, f"person {person}", audited(request, is_rehearsal=False))
        receipt = _awaited(store, request_erasure(store, request, expected, SystemClock().now()).number, wait)
        console.print(f"Erasure {receipt.number}: {receipt_in_words(receipt)}.", highlight=False, soft_wrap=True)
        if receipt.erased_at is not None:
            proof = search_by(store, looks)
            console.print(proof_in_words(proof), highlight=False, soft_wrap=True)
            if proof.found:
                raise SightlineError(
                    f"person {person} is still found; expected nobody: ask who writes to this database"
                )
        if receipt.finished_at is None:
            console.print("`sightline receipts` tells when nothing is left; are matcher and `retain` running?")
            raise typer.Exit(1)
    finally:
        store.close()


def receipts(
    limit: Annotated[int, typer.Option(min=1)] = 50, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Who was forgotten: by whom, why, when, and what is left; newest first."""
    from rich.markup import escape
    from rich.table import Table

    from services.console import clock
    from services.erasing import receipt_in_words

    store = _store(settings_of(config, data_dir))
    found = store.receipts(limit)
    store.close()
    if not found:
        console.print("Nobody was erased.")
        return
    table = Table("erasure", "person", "when", "by", "why", "what came of it", box=None, header_style="bold")
    for each in found:
        words = (each.made_by, each.why, receipt_in_words(each))
        table.add_row(str(each.number), str(each.global_id), clock(each.made_at), *(escape(word) for word in words))
    console.print(table)


def retain(
    once: Annotated[bool, typer.Option("--once", help="Remove what is due now, and end")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    metrics_port: Annotated[int | None, typer.Option("--metrics-port", help="Prometheus metrics; 0 for none")] = None,
) -> None:
    """Remove what was kept long enough, and whatever is left of erased people. `up` runs it."""
    from services.retaining import run, run_once
    from services.settings import changed

    settings = settings_of(config, data_dir)
    if metrics_port is not None:
        settings = changed(settings, {"metrics_port": metrics_port})
    if once:
        run_once(settings)
    else:
        run(settings)


def reseal(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Seal the crops of the archive with the newest of the keys; afterwards the former ones may go."""
    from pipeline.audit import AuditAction
    from services.audited import record_at_terminal
    from services.retaining import reseal as reseal_all

    settings = settings_of(config, data_dir)
    record_at_terminal(settings, AuditAction.RESEALING, "all crops")
    console.print(f"{reseal_all(settings)} crops are stored as the settings say.")


def _awaited(store: SqlStore, number: int, wait_s: float) -> Receipt:
    deadline_s = time.monotonic() + wait_s
    with console.status("Waiting for matcher and retention…"):
        while True:
            receipt = store.receipt(number)
            assert receipt is not None
            if receipt.finished_at is not None or time.monotonic() >= deadline_s:
                return receipt
            time.sleep(_LOOK_EVERY_S)


def _store(settings: Settings) -> SqlStore:
    from services.query import check_database
    from services.runtime import open_store

    check_database(settings.database)
    return open_store(settings)

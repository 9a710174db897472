"""The commands `sightline backup` and `restore`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from services.cli_options import ConfigOption, DataDirOption, settings_of

if TYPE_CHECKING:
    from pipeline.backups import Manifest

console = Console()


def backup(
    folder: Annotated[Path | None, typer.Argument(help="Where backups go [default: backup.folder]")] = None,
    verify: Annotated[
        Path | None, typer.Option("--verify", metavar="BACKUP", help="Make none, but read one and check every file")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Copy the site while it runs: database, the crops that it names, models. Keys and settings are not copied."""
    from pipeline.adapters.backup_folder import verify as verified
    from services.backups import back_up

    if verify is not None:
        _say(f"{verify} is whole: {_in_words(verified(verify))}.")
        return
    made = back_up(settings_of(config, data_dir), folder)
    assert made.manifest is not None
    _say(f"{made.folder}: {_in_words(made.manifest)}.")
    if made.manifest.counts.missing_crops:
        _say(f"{made.manifest.counts.missing_crops} crops that the database names were not there to be copied.")


def restore(
    source: Annotated[Path, typer.Argument(metavar="BACKUP", help="One of the folders that `backup` made")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Put a backup back into an empty data folder. Who was erased meanwhile is asked to be erased again."""
    from services.backups import restore as put_back

    done = put_back(settings_of(config, data_dir), source)
    _say(f"Put back: {_in_words(done.manifest)}.")
    if done.asked_again:
        people = ", ".join(map(str, done.asked_again))
        _say(f"Erased after it was made, and asked for again: {people}. `sightline receipts` tells when it is done.")
    if done.not_found:
        numbers = ", ".join(map(str, done.not_found))
        _say(
            f"Nobody here has the numbers of erasures {numbers}. Where a correction or merge gave people those numbers "
            "only after the backup, look for them and erase them again."
        )


def _in_words(manifest: Manifest) -> str:
    from services.console import clock

    counts = manifest.counts
    return (
        f"site {manifest.site} of {clock(manifest.made_at)}, {manifest.database} with schema "
        f"{manifest.schema_revision}, {counts.people} people, {counts.tracklets} tracklets, {counts.crops} crops, "
        f"{counts.models} models"
    )


def _say(text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)

"""Options that many commands share, and what they mean."""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import ConfigurationError
from services.settings import Settings, load

ConfigOption = Annotated[Path | None, typer.Option("-c", "--config", help="YAML file; see deploy/cameras.example.yaml")]
DataDirOption = Annotated[Path | None, typer.Option("--data-dir", help="Where everything is kept [default: var]")]


def settings_of(config: Path | None, data_dir: Path | None) -> Settings:
    """The settings of a command that has no other options about the site."""
    return load(config, {} if data_dir is None else {"data_dir": data_dir})


def user_of_machine() -> str:
    """Who types, where nobody is named."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"


def parsed_size(text: str) -> tuple[int, int]:
    """`256x128` → (height, width) in pixels."""
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if found is None:
        raise ConfigurationError(f"the size is {text!r}; expected height x width in pixels, as 256x128")
    return int(found[1]), int(found[2])

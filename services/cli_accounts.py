"""The commands `sightline accounts …`."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from pipeline.accounts import Role
from services.cli_options import ConfigOption, DataDirOption, settings_of

app = typer.Typer(
    help="Who may use the page and the API. The first account locks them: from then on everybody logs in.",
    no_args_is_help=True,
)
console = Console()

NameArgument = Annotated[str, typer.Argument(help="Of the account")]
RoleOption = Annotated[Role, typer.Option(help="viewer: granted cameras; investigator: all; operator; admin")]
StdinOption = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input")]


@app.command()
def add(
    name: NameArgument,
    role: RoleOption,
    camera: Annotated[list[str] | None, typer.Option("--camera", help="Granted to a viewer; may be repeated")] = None,
    password_stdin: StdinOption = False,
    no_password: Annotated[bool, typer.Option("--no-password", help="For a program, which uses a token")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Add an account; asks for its password."""
    from services.accounts import account_desk

    password = None if no_password else _password(password_stdin)
    with account_desk(settings_of(config, data_dir)) as desk:
        account = desk.add(name, role, password, camera or ())
    console.print(f"Account {account.name} is added as {account.role.value}.", markup=False)


@app.command("list")
def list_accounts(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Every account with its role and its cameras."""
    from rich.markup import escape
    from rich.table import Table

    from services.accounts import account_desk

    with account_desk(settings_of(config, data_dir)) as desk:
        accounts = desk.accounts.accounts()
    if not accounts:
        console.print("There is no account: on localhost the page is open to everybody on this machine.")
        return
    table = Table("name", "role", "cameras", "added", box=None, header_style="bold")
    for account in accounts:
        seen = account.seen_cameras
        cameras = "all" if seen is None else ", ".join(sorted(seen)) or "none"
        added = datetime.fromtimestamp(account.added_at).astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(escape(account.name), account.role.value, escape(cameras), added)
    console.print(table)


@app.command()
def password(
    name: NameArgument, password_stdin: StdinOption = False, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Give an account another password; whoever is logged in by the former one is logged out."""
    from services.accounts import account_desk

    with account_desk(settings_of(config, data_dir)) as desk:
        desk.set_password(name, _password(password_stdin))
    console.print(f"Account {name} has a new password.", markup=False)


@app.command("role")
def set_role(
    name: NameArgument,
    role: Annotated[Role, typer.Argument()],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Give an account another role; in force at once."""
    from services.accounts import account_desk

    with account_desk(settings_of(config, data_dir)) as desk:
        desk.set_role(name, role)
    console.print(f"Account {name} is {role.value} now.", markup=False)


@app.command()
def grant(
    name: NameArgument,
    cameras: Annotated[list[str] | None, typer.Argument(help="All that it may see; none takes them away")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Set the cameras that a viewer may see; in force at once."""
    from services.accounts import account_desk

    with account_desk(settings_of(config, data_dir)) as desk:
        desk.grant(name, cameras or ())
    console.print(f"Account {name} sees {', '.join(cameras or ()) or 'no camera'}.", markup=False)


@app.command()
def remove(name: NameArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Remove an account with its tokens and logins. What it did stays in the audit log."""
    from services.accounts import account_desk

    with account_desk(settings_of(config, data_dir)) as desk:
        desk.remove(name)
    console.print(f"Account {name} is removed.", markup=False)


@app.command()
def token(
    name: NameArgument,
    days: Annotated[float, typer.Option(min=0.01, max=3650, help="How long it is good")] = 365.0,
    revoke: Annotated[bool, typer.Option("--revoke", help="Instead: make all its tokens worthless")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a token for a program, with the rights of the account. It is printed once and kept nowhere."""
    from services.accounts import account_desk

    with account_desk(settings_of(config, data_dir)) as desk:
        if revoke:
            console.print(f"{desk.revoke_tokens(name)} tokens are revoked")
            return
        sys.stdout.write(desk.new_token(name, days) + "\n")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked

"""The commands `sightline alerts …`: standing queries, what they raised, and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.cli_options import ConfigOption, DataDirOption, settings_of, user_of_machine

if TYPE_CHECKING:
    from pipeline.adapters.store import SqlStore
    from services.alert_desk import AlertDesk
    from services.settings import Settings

app = typer.Typer(
    help="Questions that stand: try one on the history, let it raise alerts, judge them.", no_args_is_help=True
)
webhooks = typer.Typer(help="Who is told of alerts; set under alerts.webhooks.", no_args_is_help=True)
app.add_typer(webhooks, name="webhooks")
console = Console()

QueryArgument = Annotated[int, typer.Argument(help="Number of a standing query; see `sightline alerts queries`")]
AlertArgument = Annotated[int, typer.Argument(help="Number of an alert; see `sightline alerts list`")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who says so [default: the user of this machine]")]
DaysOption = Annotated[float, typer.Option(help="How much of the history to try it on")]


@app.command()
def add(
    question: Annotated[str, typer.Argument(help='For example "woman in a red coat"')],
    camera: Annotated[list[str] | None, typer.Option("--camera", help="Alert only here; may be repeated")] = None,
    name: Annotated[str | None, typer.Option(help="[default: the question]")] = None,
    window_min: Annotated[
        float, typer.Option(help="Minutes for which one alert for a person and camera is enough")
    ] = 60,
    daily_budget: Annotated[int, typer.Option(help="Alerts a day that may ring; others are kept, and quiet")] = 24,
    days: DaysOption = 7.0,
    by: ByOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Keep a question, and try it on the history. It raises alerts once it is switched on."""
    from pipeline.contracts import CameraId
    from pipeline.search.standing import MAX_NAME, StandingRequest
    from services.alert_desk import open_desk

    request = StandingRequest(
        question=question,
        name=name or question[:MAX_NAME],
        made_by=by or user_of_machine(),
        camera_ids=tuple(CameraId(each) for each in camera or ()),
        window_s=60.0 * window_min,
        daily_budget=daily_budget,
    )
    settings = settings_of(config, data_dir)
    with _store(settings) as store:
        desk = open_desk(settings, store)
        seen = [seen.camera_id for seen in store.cameras()]
        number = desk.add(request, sorted({*seen, *(each.id for each in settings.cameras)}))
        _print_test(desk, number, days)
    console.print(f"Standing query {number} is kept. Let it raise alerts: sightline alerts on {number}")


@app.command()
def test(
    query: QueryArgument, days: DaysOption = 7.0, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Say how often, and for whom, a query would have raised an alert."""
    with _desk(settings_of(config, data_dir)) as desk:
        _print_test(desk, query, days)


@app.command()
def on(query: QueryArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Let a query raise alerts from now on. It must have been tried, and keep to its budget."""
    with _desk(settings_of(config, data_dir)) as desk:
        desk.switch_on(query)
    console.print(f"Standing query {query} is on.")


@app.command()
def off(query: QueryArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Let a query raise no alerts any more; those that it has raised stay."""
    with _desk(settings_of(config, data_dir)) as desk:
        desk.book.switch_off(query)
    console.print(f"Standing query {query} is off.")


@app.command()
def remove(query: QueryArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Forget a query with all its alerts."""
    with _desk(settings_of(config, data_dir)) as desk:
        desk.book.remove(query)
    console.print(f"Standing query {query} and its alerts are gone.")


@app.command("queries")
def list_queries(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Every standing query: what it asks, whether it is on, and what its last back-test found."""
    from services.alert_desk import outcome_in_words, query_in_words

    with _desk(settings_of(config, data_dir)) as desk:
        found = desk.book.queries()
    if not found:
        console.print('No question stands. Add one: sightline alerts add "woman in a red coat"')
        return
    table = Table("number", "", "name", "what", "back-test", "stricter by", box=None, header_style="bold")
    for query in found:
        test = "never tried" if query.test is None else outcome_in_words(query.test.fired, query.test.days)
        words = (query.request.name, query_in_words(query), test, f"{query.margin:.2f}")
        table.add_row(str(query.number), "on" if query.is_on else "off", *(escape(word) for word in words))
    console.print(table)


@app.command("list")
def list_alerts(
    query: Annotated[int | None, typer.Option(help="Only of this standing query")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that somebody has seen to")] = False,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """The newest alerts, newest first."""
    from pipeline.adapters.standing_book import AlertFilter
    from pipeline.search.standing import AlertState
    from services.console import clock

    with _desk(settings_of(config, data_dir)) as desk:
        found = desk.book.alerts(AlertFilter(query, None if everything else AlertState.OPEN), limit)
    if not found:
        console.print(
            "No alert was raised." if everything else "No alert is open; --all shows those that were seen to."
        )
        return
    table = Table("number", "seen", "query", "person", "camera", "confidence", "state", box=None, header_style="bold")
    for alert in found:
        state = alert.state.value.replace("_", " ") + (" (quiet)" if alert.is_quiet else "")
        seen = (clock(alert.ended_at), escape(alert.name), str(alert.global_id), escape(alert.camera_id))
        table.add_row(str(alert.number), *seen, f"{alert.confidence:.0%}", state)
    console.print(table)


@app.command()
def ack(alert: AlertArgument, by: ByOption = None, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Say that an alert was seen to. Its query stays as it is."""
    with _desk(settings_of(config, data_dir)) as desk:
        desk.acknowledge(alert, by or user_of_machine())
    console.print(f"Alert {alert} is acknowledged.")


@app.command("false-alarm")
def false_alarm(
    alert: AlertArgument, by: ByOption = None, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Say that an alert showed somebody else: its query asks for more from now on."""
    with _desk(settings_of(config, data_dir)) as desk:
        desk.false_alarm(alert, by or user_of_machine())
        query = desk.book.query(desk.book.alert(alert).query_number)
    console.print(f"Alert {alert} was false; standing query {query.number} is stricter by {query.margin:.2f} now.")


@webhooks.command("list")
def list_webhooks(config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Who is told, how many messages wait, and which were given up."""
    from pipeline.adapters.delivery_book import DeliveryBook, DeliveryState
    from services.console import clock
    from services.webhooks import webhook_target

    settings = settings_of(config, data_dir)
    if not settings.alerts.webhooks:
        console.print("No webhook is set; name them under alerts.webhooks in the settings.")
    with _store(settings) as store:
        book = DeliveryBook(store.database)
        counts, dead = book.counts(), book.dead(50)
    table = Table("webhook", "host", "waiting", "delivered", "given up", box=None, header_style="bold")
    for name, chosen in settings.alerts.webhooks.items():
        told = (str(counts.get((name, state), 0)) for state in DeliveryState)
        table.add_row(name, escape(webhook_target(name, chosen).host), *told)
    console.print(table)
    for each in dead:
        console.print(f"alert {each.alert_number}, given up {clock(each.due_at)}: {each.problem}", markup=False)


@webhooks.command("test")
def test_webhook(
    name: Annotated[str, typer.Argument(help="As in alerts.webhooks")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Send a signed trial message now."""
    from pipeline.adapters.clock import SystemClock
    from pipeline.adapters.webhook import tell
    from pipeline.errors import ConfigurationError
    from services.webhooks import trial_message, webhook_target

    settings = settings_of(config, data_dir)
    chosen = settings.alerts.webhooks.get(name)
    if chosen is None:
        known = ", ".join(settings.alerts.webhooks) or "(none yet)"
        raise ConfigurationError(f"webhook {name!r} is unknown; expected one of {known}: see alerts.webhooks")
    tell(webhook_target(name, chosen), trial_message(settings.site), "test", SystemClock().now())
    console.print(f"{name} has answered.")


@webhooks.command("replay")
def replay_deliveries(
    alert: Annotated[list[int] | None, typer.Argument(help="Of these alerts; none means all")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Send messages again that were given up."""
    from pipeline.adapters.clock import SystemClock
    from pipeline.adapters.delivery_book import DeliveryBook

    with _store(settings_of(config, data_dir)) as store:
        count = DeliveryBook(store.database).replay(alert or [], SystemClock().now())
    console.print(f"{count} messages are sent again.")


def _print_test(desk: AlertDesk, number: int, days: float) -> None:
    from services.alert_desk import outcome_in_words
    from services.console import clock

    with console.status("Trying it on the history…"):
        found = desk.test(number, days)
    console.print(outcome_in_words(found.fired, found.days), highlight=False)
    if not found.hits:
        return
    table = Table("seen", "person", "camera", "confidence", "tracklet", box=None, header_style="bold")
    for hit in found.hits:
        where = (str(hit.global_id), escape(hit.camera_id), f"{hit.confidence:.0%}", escape(hit.tracklet_id))
        table.add_row(clock(hit.ended_at), *where)
    console.print(table)


@contextmanager
def _store(settings: Settings) -> Iterator[SqlStore]:
    from services.query import check_database
    from services.runtime import open_store

    check_database(settings.database)
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _desk(settings: Settings) -> Iterator[AlertDesk]:
    from services.alert_desk import open_desk

    with _store(settings) as store:
        yield open_desk(settings, store)

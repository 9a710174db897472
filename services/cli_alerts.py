"""The commands `sightline alerts …`: standing queries, what they raised, and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.cli_options import ConfigOption, DataDirOption, settings_of

if TYPE_CHECKING:
    from pipeline.adapters.store import SqlStore
    from pipeline.search.standing import AlertState, StandingQuery
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
ReasonOption = Annotated[str, typer.Option(help="Why; kept in the audit log. The site may require it")]


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
    reason: ReasonOption = "",
    by: ByOption = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Keep a question, and try it on the history. It raises alerts once it is switched on. Places in it are cameras."""
    from pipeline.audit import AuditAction
    from pipeline.contracts import CameraId
    from pipeline.search.standing import MAX_NAME, StandingRequest
    from services.alert_desk import open_desk
    from services.audited import record_at_terminal, stated, user_name

    request = StandingRequest(
        question=question,
        name=name or question[:MAX_NAME],
        made_by=by or user_name(),
        camera_ids=tuple(CameraId(each) for each in camera or ()),
        window_s=60.0 * window_min,
        daily_budget=daily_budget,
    )
    settings = settings_of(config, data_dir)
    with _store(settings) as store:
        desk = open_desk(settings, store)
        seen = [seen.camera_id for seen in store.cameras()]
        known = sorted({CameraId(name) for name in (*seen, *(each.id for each in settings.cameras))})
        asked, why = desk.checked(request, known), stated(reason, settings.api.search_reason)
        detail = {"change": "kept", "name": asked.name, "cameras": list(asked.camera_ids), "reason": why}
        record_at_terminal(settings, AuditAction.ALERT, asked.question, detail)
        number = desk.add(asked)
        _try(settings, desk, number, days, why)
    console.print(f"Standing query {number} is kept. Let it raise alerts: sightline alerts on {number}")


@app.command()
def test(
    query: QueryArgument,
    days: DaysOption = 7.0,
    reason: ReasonOption = "",
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Say how often, and for whom, a query would have raised an alert."""
    from services.audited import stated

    settings = settings_of(config, data_dir)
    with _desk(settings) as desk:
        _try(settings, desk, query, days, stated(reason, settings.api.search_reason))


@app.command()
def on(query: QueryArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Let a query raise alerts from now on. It must have been tried, and keep to its budget."""
    with _changing(query, "switched on", config, data_dir) as desk:
        desk.switch_on(query)
    console.print(f"Standing query {query} is on.")


@app.command()
def off(query: QueryArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Let a query raise no alerts any more; those that it has raised stay."""
    with _changing(query, "switched off", config, data_dir) as desk:
        desk.book.switch_off(query)
    console.print(f"Standing query {query} is off.")


@app.command()
def remove(query: QueryArgument, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Forget a query with all its alerts."""
    with _changing(query, "removed", config, data_dir) as desk:
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
    from pipeline.audit import AuditAction
    from pipeline.search.standing import AlertState
    from services.api.words import share_in_words
    from services.audited import record_at_terminal
    from services.console import clock

    settings = settings_of(config, data_dir)
    with _desk(settings) as desk:
        record_at_terminal(settings, AuditAction.VIEW, "the list of alerts", {"limit": limit})
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
        table.add_row(str(alert.number), *seen, share_in_words(alert.confidence), state)
    console.print(table)


@app.command()
def ack(alert: AlertArgument, by: ByOption = None, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Say that an alert was seen to. Its query stays as it is."""
    from pipeline.search.standing import AlertState

    _judge(alert, AlertState.ACKNOWLEDGED, by, config, data_dir)
    console.print(f"Alert {alert} is acknowledged.")


@app.command("false-alarm")
def false_alarm(
    alert: AlertArgument, by: ByOption = None, config: ConfigOption = None, data_dir: DataDirOption = None
) -> None:
    """Say that an alert showed somebody else: its query asks for more from now on."""
    from pipeline.search.standing import AlertState

    query = _judge(alert, AlertState.FALSE_ALARM, by, config, data_dir)
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
    from pipeline.audit import AuditAction
    from services.audited import record_at_terminal

    settings = settings_of(config, data_dir)
    with _store(settings) as store:
        record_at_terminal(settings, AuditAction.ALERT, "webhooks", {"change": "sent again", "alerts": alert or []})
        count = DeliveryBook(store.database).replay(alert or [], SystemClock().now())
    console.print(f"{count} messages are sent again.")


def _try(settings: Settings, desk: AlertDesk, number: int, days: float, why: str) -> None:
    from pipeline.audit import AuditAction
    from services.alert_desk import outcome_in_words
    from services.api.words import share_in_words
    from services.audited import record_at_terminal
    from services.console import clock

    detail = {"kind": "back-test", "standing_query": number, "days": days, "reason": why}
    record_at_terminal(settings, AuditAction.SEARCH, desk.book.query(number).request.question, detail)
    with console.status("Trying it on the history…"):
        found = desk.test(number, days)
    console.print(outcome_in_words(found.fired, found.days), highlight=False)
    if not found.hits:
        return
    table = Table("seen", "person", "camera", "confidence", "tracklet", box=None, header_style="bold")
    for hit in found.hits:
        where = (str(hit.global_id), escape(hit.camera_id), share_in_words(hit.confidence), escape(hit.tracklet_id))
        table.add_row(clock(hit.ended_at), *where)
    console.print(table)


def _judge(number: int, state: AlertState, by: str | None, config: Path | None, data_dir: Path | None) -> StandingQuery:
    """Returns the query of the alert, as it is then."""
    from pipeline.audit import AuditAction
    from services.audited import record_at_terminal, user_name

    settings = settings_of(config, data_dir)
    with _desk(settings) as desk:
        query_number = desk.book.alert(number).query_number
        detail = {"change": state.value, "standing_query": query_number}
        record_at_terminal(settings, AuditAction.ALERT, f"alert {number}", detail)
        desk.judge(number, state, by or user_name())
        return desk.book.query(query_number)


@contextmanager
def _changing(number: int, change: str, config: Path | None, data_dir: Path | None) -> Iterator[AlertDesk]:
    """The desk, once the change of a query is recorded."""
    from pipeline.audit import AuditAction
    from services.audited import record_at_terminal

    settings = settings_of(config, data_dir)
    with _desk(settings) as desk:
        detail = {"change": change, "question": desk.book.query(number).request.question}
        record_at_terminal(settings, AuditAction.ALERT, f"standing query {number}", detail)
        yield desk


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

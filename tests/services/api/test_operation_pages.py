"""The pages of operations: what they show and do, and that nothing from outside becomes markup."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pipeline.accounts import Role
from pipeline.adapters.audit_store import AuditStore
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.schema import audit
from pipeline.audit import AuditAction
from pipeline.backups import BackupsKept
from pipeline.contracts import StreamName
from pipeline.errors import Unavailable
from pipeline.forgetting import DAY_S
from pipeline.interfaces import Backlog
from pipeline.kept import Coverage
from reid_models.manifest import DEFAULT_BUNDLE, read_manifest
from reid_models.registry import Registry
from services.api.app import create_app
from services.api.dependencies import ApiDependencies
from services.api.long_work import LongWork
from services.api.plots import trends
from services.models import ModelsInUse
from services.operations import Operations
from tests.fakes import HandClock, event
from tests.services.api.nights import night_report, write_nights
from tests.services.api.people import HTML, add_account, form_mark, logged_in, program
from tests.services.nightly.small_nights import make_bundle
from tests.small_site import DISK, NOW, SmallSite

SHIPPED = read_manifest(DEFAULT_BUNDLE).digest
OTHER = "0123456789abcdef"
HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def run_by(deps: ApiDependencies, bus: MemoryBus, tmp_path: Path) -> ApiDependencies:
    registry, clock = Registry(tmp_path / "models"), HandClock(NOW)
    make_bundle(tmp_path / "models" / OTHER, "taught here", OTHER)
    use = ModelsInUse(OTHER, SHIPPED, Coverage(1234, 2870, 0))
    return dataclasses.replace(
        deps, operations=Operations(bus, registry, lambda: use, tmp_path / "nights", lambda: DISK, clock)
    )


@pytest.fixture
def page(run_by: ApiDependencies) -> TestClient:
    client = TestClient(create_app(run_by), base_url="http://localhost", follow_redirects=False)
    client.headers.update(HTML)
    return client


def set_aside(bus: MemoryBus, count: int, reason: str = "the crop is no JPEG") -> None:
    bus.publish(StreamName.IDENTITIES, [event(number) for number in range(1, count + 1)])
    for delivery in bus.consume(StreamName.IDENTITIES, "reader", "one", count, 0.0):
        bus.set_aside(delivery, "reader", reason)


def flat(text: str) -> str:
    return " ".join(text.split())


def test_streams_tell_how_far_each_reader_is_behind(page: TestClient) -> None:
    text = page.get("/operations").text
    assert all(group in text for group in ("embedder", "archiver", "matcher"))
    assert "Nothing was set aside" in text


KEPT = BackupsKept(whole=8, newest_at=NOW - 7200.0, oldest_at=NOW - 6.9 * DAY_S, keep_days=7.0, every_hours=24.0)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (None, "None are made"),
        (
            dataclasses.replace(KEPT, whole=0, newest_at=None, oldest_at=None),
            "None was made yet, and one is due every 24 hours",
        ),
        (KEPT, "8 whole, kept for 7 days. The newest is of"),
        (dataclasses.replace(KEPT, newest_at=NOW - 2 * DAY_S), "one is due every 24 hours; the log of"),
        (Unavailable("the disk is <away>"), "They cannot be told at present: the disk is &lt;away&gt;"),
    ],
)
def test_backups_are_told_beside_what_is_kept(
    deps: ApiDependencies, bus: MemoryBus, told: BackupsKept | Unavailable | None, words: str
) -> None:
    def backups() -> BackupsKept | None:
        if isinstance(told, Unavailable):
            raise told
        return told

    registry, use = Registry(Path("/nonexistent")), ModelsInUse(None, None)
    operations = Operations(
        bus, registry, lambda: use, Path("/nonexistent"), lambda: DISK, HandClock(NOW), backups=backups
    )
    client = TestClient(create_app(dataclasses.replace(deps, operations=operations)), base_url="http://localhost")
    text = flat(client.get("/operations/kept", headers=HTML).text)
    assert words in text and (told is not KEPT or "the log of" not in text)


def test_the_disk_is_told_and_when_it_fills(page: TestClient) -> None:
    text = flat(page.get("/operations").text)
    assert "150 GB of 2 TB are free" in text and "shorten the retention" in text
    assert "31.4 MB" in text and "1.5 TB" in text


def test_a_dead_letter_is_sent_again_by_its_button_and_all_by_another(
    page: TestClient, bus: MemoryBus, run_by: ApiDependencies
) -> None:
    set_aside(bus, 3)
    middle = bus.dead_letters(10)[1]
    assert "the crop is no JPEG" in page.get("/operations").text
    assert page.post("/operations/dead/replay", data={"entry": middle.entry_id}).headers["location"] == "/operations"
    run_by.work.wait()
    assert "1 message sent again" in page.get("/operations").text and len(bus.dead_letters(10)) == 2
    page.post("/operations/dead/replay")
    run_by.work.wait()
    assert "2 messages sent again" in page.get("/operations").text and bus.dead_letters(10) == []
    recorded = [(entry.action, entry.subject) for entry in run_by.audit.newest(2)]
    assert recorded == [("operation", "dead letters sent again")] * 2


def test_what_made_a_message_fail_never_becomes_markup(page: TestClient, bus: MemoryBus) -> None:
    set_aside(bus, 1, HOSTILE)
    text = page.get("/operations").text
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text


def test_without_the_bus_the_page_says_so(run_by: ApiDependencies) -> None:
    class AwayBus(MemoryBus):
        def backlog(self, stream: StreamName, group: str) -> Backlog:
            raise Unavailable("redis does not answer; is it running?")

    nowhere = Path("/nonexistent")
    away = Operations(
        AwayBus(), Registry(nowhere), lambda: ModelsInUse(None, None), nowhere, lambda: DISK, run_by.clock
    )
    client = TestClient(create_app(dataclasses.replace(run_by, operations=away)), base_url="http://localhost")
    reply = client.get("/operations", headers=HTML)
    assert reply.status_code == 200 and "redis does not answer" in reply.text
    assert "150 GB of 2 TB are free" in reply.text


def test_models_show_their_figures_and_how_far_a_change_is(page: TestClient) -> None:
    text = flat(page.get("/operations/models").text)
    assert SHIPPED in text and "taught here" in text
    assert "re-embedding 42 %, 1,234 of 2,870" in text


def test_a_promotion_that_cannot_be_says_why_and_changes_nothing(page: TestClient, run_by: ApiDependencies) -> None:
    form = {"digest": OTHER, "reason": "a try"}  # its weights are none
    assert page.post("/operations/models/promote", data=form).status_code == 303
    run_by.work.wait()
    text = flat(page.get("/operations/models").text)
    assert "Promoting a model" in text and "is damaged" in text
    assert run_by.operations.models()[0][0].promoted_at is None
    assert run_by.audit.newest(1)[0].subject == f"model {OTHER} promoted"


def test_the_shipped_model_is_promoted_and_taken_back(page: TestClient, run_by: ApiDependencies) -> None:
    page.post("/operations/models/promote", data={"digest": SHIPPED, "reason": "surely"})
    run_by.work.wait()
    assert f"{SHIPPED} is wanted" in flat(page.get("/operations/models").text)
    page.post("/operations/models/rollback", data={"reason": "not so sure"})
    run_by.work.wait()
    assert "is wanted again" in flat(page.get("/operations/models").text)


@pytest.mark.parametrize("digest", ["../../etc", "0123", "/tmp"])
def test_a_page_names_a_model_by_its_whole_digest_and_no_folder(page: TestClient, digest: str) -> None:
    reply = page.post("/operations/models/promote", data={"digest": digest, "reason": "x"})
    assert reply.status_code == 404 and "no model" in reply.text


def test_a_change_of_the_model_needs_a_reason(page: TestClient) -> None:
    assert page.post("/operations/models/rollback", data={"reason": "  "}).status_code == 422


def test_nights_are_listed_with_a_plot_and_opened(page: TestClient, tmp_path: Path) -> None:
    assert "No night is reported" in page.get("/operations/nights").text
    newest = write_nights(tmp_path / "nights", 0.48, 0.461, None)[0]
    text = page.get("/operations/nights").text
    assert text.count("<circle") == 2 + 3 and "every gate passed" in text
    night = page.get(f"/operations/nights/{newest.night}").text
    assert "0.4800" in night and "a gain of 0.5 points" in night and "2,870" in night
    assert "not measured" in page.get("/operations/nights/2026-05-25T02-00-00Z").text
    assert page.get("/operations/nights/..%2f..%2fetc").status_code == 404


def test_what_a_night_tells_never_becomes_markup(page: TestClient, tmp_path: Path) -> None:
    from services.nightly.report import write_report

    write_report(tmp_path / "nights", night_report(0, 0.5, reason=HOSTILE))
    for address in ("/operations/nights", "/operations/nights/2026-05-27T02-00-00Z"):
        assert "<script>alert" not in page.get(address).text


def test_a_plot_shows_the_better_higher_and_the_later_further_right() -> None:
    oldest, newest = night_report(1, 0.461), night_report(0, 0.48)
    trend = trends([newest, oldest])[0]
    (before, after) = trend.marks
    assert before.x < after.x and before.y > after.y and after.is_passed and not before.is_passed
    assert (trend.lowest, trend.highest) == pytest.approx((0.46, 0.48))


def test_noise_is_no_mountain_and_one_night_is_a_plot_too() -> None:
    trend = trends([night_report(0, 0.4601)])[0]
    assert trend.highest - trend.lowest == pytest.approx(0.02)
    assert trends([night_report(0, None)])[0].subject == "text rank-1 of the probe set"


def test_the_record_is_listed_in_pages_and_checked(page: TestClient, run_by: ApiDependencies) -> None:
    for number in range(60):
        run_by.audit.record("anna", AuditAction.VIEW, f"person {number + 1} {HOSTILE}")
    first = page.get("/operations/audit").text
    assert "person 60" in first and "<script>alert" not in first and 'rel="next"' in first
    older = page.get("/operations/audit", params={"before": 10}).text
    assert "person 9 " in older and "person 10 " not in older
    page.post("/operations/audit/verify", data={"head": ""})
    run_by.work.wait()
    assert "60 entries, none changed" in page.get("/operations/audit").text


def test_a_changed_record_is_found(page: TestClient, run_by: ApiDependencies, site: SmallSite) -> None:
    assert isinstance(run_by.audit, AuditStore)
    for number in range(3):
        run_by.audit.record("anna", AuditAction.VIEW, f"person {number}")
    with site.store.database.writing() as connection:
        connection.execute(audit.update().where(audit.c.number == 2).values(subject="nobody"))
    page.post("/operations/audit/verify")
    run_by.work.wait()
    assert "entry 2 was changed" in page.get("/operations/audit").text


def test_an_unreadable_head_is_explained(page: TestClient) -> None:
    reply = page.post("/operations/audit/verify", data={"head": "x"})
    assert reply.status_code == 422 and "NUMBER:HASH" in reply.text


def test_long_work_holds_up_nothing_else_and_is_done_once(page: TestClient, run_by: ApiDependencies) -> None:
    go_on = threading.Event()

    def wait() -> str:
        go_on.wait(30.0)
        return "done at last"

    run_by.work.begin("counting", "olga", wait)
    reply = page.get("/operations")
    assert reply.headers["refresh"] == "2" and "Counting" in reply.text and "olga" in reply.text
    busy = page.post("/operations/audit/verify")
    assert busy.status_code == 422 and "still at work" in busy.text
    go_on.set()
    run_by.work.wait()
    reply = page.get("/operations")
    assert "refresh" not in reply.headers and "done at last" in reply.text


def test_work_that_breaks_ends_and_tells_nothing_of_the_inside() -> None:
    def broken() -> str:
        raise RuntimeError("secret path /srv/x")

    work = LongWork(HandClock(NOW))
    work.begin("counting", "olga", broken)
    work.wait()
    last = work.last()
    assert last is not None and last.has_failed and "secret" not in last.outcome


def test_an_operator_sees_models_and_only_an_admin_changes_them(run_by: ApiDependencies) -> None:
    text = program(run_by, "olga", Role.OPERATOR).get("/operations/models", headers=HTML).text
    assert "Let it serve" not in text and "/operations/audit" not in text
    assert "/operations" not in program(run_by, "ines", Role.INVESTIGATOR).get("/people", headers=HTML).text


def test_a_form_without_its_mark_changes_nothing(run_by: ApiDependencies, bus: MemoryBus) -> None:
    set_aside(bus, 1)
    add_account(run_by, "olga", Role.OPERATOR)
    client = logged_in(run_by, "olga")
    assert client.post("/operations/dead/replay").status_code == 403
    assert client.post("/operations/dead/replay", data={"csrf": form_mark(client)}).status_code == 303

"""People, crops, cameras, health: what each endpoint answers, and when its source is away."""

from __future__ import annotations

import dataclasses

import pytest
from fastapi.testclient import TestClient

from pipeline.adapters.database import Database
from pipeline.adapters.track_names import TrackNames
from pipeline.contracts import CameraId, CameraStatus
from pipeline.errors import Unavailable
from pipeline.interfaces import StatusBoard
from services.api.app import create_app
from services.api.dependencies import ApiDependencies
from services.api.live_wall import LiveWall
from tests.small_site import NOW, SmallSite, camera_status

IMAGE = {"Accept": "image/avif,image/webp,image/*,*/*;q=0.8"}


class AwayBoard:
    """A status board whose Redis does not answer."""

    def report(self, status: CameraStatus, snapshot_jpeg: bytes | None) -> None: ...

    def statuses(self) -> list[CameraStatus]:
        raise Unavailable("redis at /run/x.sock does not answer; is it running?")

    def snapshot(self, camera_id: CameraId) -> bytes | None:
        raise Unavailable("redis at /run/x.sock does not answer; is it running?")


@pytest.fixture
def without_redis(deps: ApiDependencies) -> TestClient:
    return TestClient(create_app(_with_board(deps, AwayBoard())), base_url="http://localhost")


def _with_board(deps: ApiDependencies, board: StatusBoard) -> ApiDependencies:
    return dataclasses.replace(deps, board=LiveWall(board, TrackNames(Database.in_memory()), deps.clock))


def test_people_are_listed_last_seen_first_in_pages(client: TestClient) -> None:
    first = client.get("/api/v1/identities", params={"limit": 2}).json()
    rest = client.get("/api/v1/identities", params={"limit": 2, "offset": 2}).json()
    assert first["total"] == rest["total"] == 3
    assert [person["global_id"] for person in first["people"] + rest["people"]] == [3, 2, 1]
    assert first["people"][0]["confidence"] is None


def test_the_list_takes_the_filters_of_a_search(client: TestClient) -> None:
    listed = client.get("/api/v1/identities", params={"cameras": "yard", "since": "40m"}).json()
    assert [person["global_id"] for person in listed["people"]] == [2]


def test_a_person_has_a_route_with_crops(client: TestClient) -> None:
    person = client.get("/api/v1/identities/1").json()
    assert [(stay["camera_id"], stay["started_at"]) for stay in person["route"]] == [
        ("lobby", NOW - 7200.0),
        ("yard", NOW - 3600.0),
    ]
    assert all(client.get(key).content[:2] == b"\xff\xd8" for stay in person["route"] for key in stay["crops"])


@pytest.mark.parametrize("key", ["0" * 39, "0" * 41, "Z" * 40, "..%2f..%2fetc%2fpasswd", "0" * 39 + "%00"])
def test_a_key_that_is_none_is_refused(client: TestClient, key: str) -> None:
    assert client.get(f"/api/v1/crops/{key}").status_code in (404, 422)


def test_a_missing_crop_is_a_problem_for_programs_and_a_placeholder_for_the_page(client: TestClient) -> None:
    path = f"/api/v1/crops/{'0' * 40}"
    told, shown = client.get(path), client.get(path, headers=IMAGE)
    assert told.status_code == shown.status_code == 404
    assert "deleted" in told.json()["error"]["to_do"]
    assert shown.headers["content-type"] == "image/svg+xml"


def test_cameras_tell_their_state_in_words_and_no_credentials(client: TestClient) -> None:
    reply = client.get("/api/v1/cameras")
    lobby, yard = reply.json()
    assert (lobby["camera_id"], lobby["light"], lobby["summary"]) == (
        "lobby",
        "live",
        "live, 2 people in view, 8.0 frames/s",
    )
    assert (yard["state"], yard["light"]) == ("down", "trouble")
    assert "connection refused" in yard["last_error"]
    assert "@" not in reply.text


def test_a_camera_whose_worker_is_silent_is_not_shown_as_live(client: TestClient, site: SmallSite) -> None:
    site.board.report(camera_status("lobby").model_copy(update={"reported_at": NOW - 300.0}), None)
    lobby = client.get("/api/v1/cameras").json()[0]
    assert lobby["light"] == "trouble" and "5 min ago" in lobby["summary"]


def test_a_snapshot_is_a_jpeg_that_nobody_keeps(client: TestClient) -> None:
    reply = client.get("/api/v1/cameras/lobby/snapshot.jpg")
    assert (reply.headers["content-type"], reply.headers["cache-control"]) == ("image/jpeg", "no-store")
    assert client.get("/api/v1/cameras/yard/snapshot.jpg").status_code == 404
    assert client.get("/api/v1/cameras/attic/snapshot.jpg", headers=IMAGE).headers["content-type"] == "image/svg+xml"
    assert client.get("/api/v1/cameras/a%20b/snapshot.jpg").status_code == 422


def test_without_redis_cameras_are_unavailable_and_a_search_still_answers(without_redis: TestClient) -> None:
    reply = without_redis.get("/api/v1/cameras")
    assert reply.status_code == 503
    assert "redis" in reply.json()["error"]["found"]
    assert without_redis.get("/api/v1/search", params={"q": "red", "cameras": "lobby"}).json()["people"]
    page = without_redis.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 200 and "redis at /run/x.sock does not answer" in page.text


def test_ready_names_each_part_that_does_not_work(deps: ApiDependencies) -> None:
    checks = {"database": lambda: None, "redis": AwayBoard().statuses}
    client = TestClient(create_app(dataclasses.replace(deps, checks=checks)), base_url="http://localhost")
    reply = client.get("/readyz")
    assert reply.status_code == 503
    assert reply.json()["parts"] == {"database": "ok", "redis": "redis at /run/x.sock does not answer; is it running?"}
    fine = TestClient(
        create_app(dataclasses.replace(deps, checks={"database": lambda: None})), base_url="http://localhost"
    )
    assert fine.get("/readyz").json() == {"is_ready": True, "parts": {"database": "ok"}}


def test_metrics_are_served(client: TestClient) -> None:
    client.get("/api/v1/search", params={"q": "red"})
    assert 'sightline_query_seconds_count{kind="text"}' in client.get("/metrics").text


def test_the_description_names_every_endpoint(client: TestClient) -> None:
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert {
        "/api/v1/search",
        "/api/v1/search/image",
        "/api/v1/search/look",
        "/api/v1/search/verdicts",
        "/api/v1/identities/{global_id}/look",
        "/api/v1/identities/{global_id}/elsewhere",
        "/api/v1/identities",
        "/api/v1/identities/{global_id}",
        "/api/v1/identities/{global_id}/similar",
        "/api/v1/crops/{key}",
        "/api/v1/standing-queries",
        "/api/v1/standing-queries/{number}",
        "/api/v1/standing-queries/{number}/test",
        "/api/v1/standing-queries/{number}/on",
        "/api/v1/standing-queries/{number}/off",
        "/api/v1/alerts",
        "/api/v1/alerts/feed",
        "/api/v1/alerts/{number}",
        "/api/v1/alerts/{number}/acknowledge",
        "/api/v1/alerts/{number}/false-alarm",
        "/api/v1/corrections",
        "/api/v1/corrections/{number}",
        "/api/v1/corrections/{number}/undo",
        "/api/v1/identities/{global_id}/export",
        "/api/v1/erasures",
        "/api/v1/erasures/{number}",
        "/api/v1/retention",
        "/api/v1/tracklets/{tracklet_id}/explanation",
        "/api/v1/cameras",
        "/api/v1/cameras/{camera_id}/snapshot.jpg",
        "/api/v1/me",
        "/healthz",
        "/readyz",
        "/metrics",
    } == set(paths)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/api/v1/nothing", 404), ("DELETE", "/api/v1/cameras", 405)]
)
def test_unknown_addresses_are_problems_too(client: TestClient, method: str, path: str, status: int) -> None:
    reply = client.request(method, path)
    assert reply.status_code == status
    assert reply.json()["error"]["to_do"]


def test_an_error_inside_tells_nothing_of_the_inside(deps: ApiDependencies) -> None:
    class Broken(AwayBoard):
        def statuses(self) -> list[CameraStatus]:
            raise RuntimeError("secret path /srv/x")

    app = create_app(_with_board(deps, Broken()))
    reply = TestClient(app, base_url="http://localhost", raise_server_exceptions=False).get("/api/v1/cameras")
    assert reply.status_code == 500
    assert "secret" not in reply.text and reply.json()["error"]["to_do"]


@pytest.mark.parametrize("path", ["/api/v1/identities", "/api/v1/corrections", "/people"])
def test_a_number_that_no_database_can_keep_is_a_mistake_of_whoever_asks(client: TestClient, path: str) -> None:
    reply = client.get(f"{path}/{2**70}")
    assert reply.status_code == 422 and "64 bits" in reply.json()["error"]["found"]

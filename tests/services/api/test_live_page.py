"""The page of what cameras show now, as HTML."""

from __future__ import annotations

from fastapi.testclient import TestClient

from pipeline.accounts import Role
from pipeline.contracts import CameraState, TrackInView
from services.api.dependencies import ApiDependencies
from tests.fakes import jpeg, painted
from tests.services.api.people import HTML, program
from tests.small_site import SmallSite, camera_status

HOSTILE = "<script>alert(1)</script>\"'&"


def show(site: SmallSite, camera_id: str, *track_ids: int, error: str = "") -> None:
    seen = tuple(TrackInView(track_id=track_id, box=(0.25, 0.5, 0.5, 1.0)) for track_id in track_ids)
    status = camera_status(camera_id, people=len(seen), last_error=error)
    site.board.report(
        status.model_copy(update={"boot_id": "b1", "in_view": seen}), jpeg(painted((90, 90, 90), 90, 160))
    )


def test_boxes_stand_over_the_picture_with_the_number_of_the_person(client: TestClient, site: SmallSite) -> None:
    show(site, "gate", 600, 9)  # person 3 came a minute ago on track 600; track 9 has no identity yet
    text = client.get("/cameras", headers=HTML).text
    assert '<rect x="160.0" y="180.0" width="160.0"' in " ".join(text.split())
    assert ">3</text>" in text and ">new</text>" in text and 'href="/people/3"' in text
    assert 'class="hue-3"' in text and 'class="unknown"' in text


def test_a_camera_that_is_not_live_shows_its_error_and_no_boxes_of_before(client: TestClient, site: SmallSite) -> None:
    show(site, "gate", 600)
    down = camera_status("gate", CameraState.DOWN, last_error=HOSTILE)
    site.board.report(down.model_copy(update={"boot_id": "b1", "in_view": ()}), None)
    text = client.get("/cameras", headers=HTML).text
    assert "trying again" in text and "&lt;script&gt;alert" in text and "<script>alert" not in text
    assert ">3</text>" not in text


def test_the_wall_alone_is_what_the_page_shows(client: TestClient, site: SmallSite) -> None:
    show(site, "gate", 600)
    part = client.get("/cameras/wall", headers=HTML).text
    assert "<html" not in part and part.strip() in client.get("/cameras", headers=HTML).text


def test_the_same_boxes_are_told_to_programs(client: TestClient, site: SmallSite) -> None:
    show(site, "gate", 600, 9)
    gate = next(camera for camera in client.get("/api/v1/cameras").json() if camera["camera_id"] == "gate")
    box = [0.25, 0.5, 0.5, 1.0]
    assert gate["in_view"] == [{"box": box, "global_id": 3}, {"box": box, "global_id": None}]


def test_opening_the_wall_is_recorded_and_keeping_it_fresh_is_not(deps: ApiDependencies, client: TestClient) -> None:
    client.get("/cameras", headers=HTML)
    client.get("/cameras/wall", headers=HTML)
    assert [entry.subject for entry in deps.audit.newest(10)] == ["the live cameras"]


def test_a_viewer_sees_who_is_before_granted_cameras_alone(deps: ApiDependencies, site: SmallSite) -> None:
    show(site, "gate", 600)
    assert 'href="/people/3"' in program(deps, "gina", Role.VIEWER, ["gate"]).get("/cameras/wall", headers=HTML).text
    vera = program(deps, "vera", Role.VIEWER, ["lobby"])
    assert "gate" not in vera.get("/cameras/wall", headers=HTML).text
    assert vera.get("/api/v1/cameras/gate/snapshot.jpg").status_code == 404

"""What leaves the house says who took it and when."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image as Pictures

from pipeline.accounts import Role
from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.watermark import watermarked
from pipeline.contracts import CameraId, GlobalId
from pipeline.kept import Sighting
from pipeline.search.people import Person
from services.api.callers import ANYBODY_HERE, Caller
from services.api.dependencies import ApiDependencies
from services.api.export_routes import ExportBody, export_identity
from services.exporting import ExportRequest, export_person
from tests.fakes import jpeg, painted
from tests.services.api.people import program

WHO = {"made_by": "anna"}
WORDS = "main: exported by anna, 2026-05-28T20:26:40+00:00"


def opened(content: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(content))


def test_every_picture_of_an_export_carries_who_and_when(client: TestClient) -> None:
    reply = client.post("/api/v1/identities/1/export", json=WHO)
    assert reply.status_code == 200 and reply.headers["content-disposition"] == 'attachment; filename="person-1.zip"'
    files = opened(reply.content)
    route = json.loads(files.read("route.json"))
    assert route["notice"] == WORDS and route["person"] == 1 and route["route"]
    pictures = [name for name in files.namelist() if name.endswith(".jpg")]
    assert pictures
    for name in pictures:
        with Pictures.open(io.BytesIO(files.read(name))) as picture:
            assert picture.info["comment"] == WORDS.encode()


def test_an_export_shows_every_stay_before_any_twice_and_heads_only_when_asked_for() -> None:
    blobs, noise = MemoryBlobs(), np.random.default_rng(2).integers(0, 256, (4, 100, 50, 3), np.uint8)
    keys = [blobs.put(jpeg(picture)) for picture in noise]
    gate, hall = (
        Sighting(CameraId(name), at, at + 5.0, (), tuple(own))
        for name, at, own in (("gate", 10.0, keys[:2]), ("hall", 30.0, keys[2:]))
    )
    person = Person(GlobalId(1), 10.0, 35.0, (gate, hall), ())
    request = ExportRequest("anna", datetime(2026, 5, 28, tzinfo=UTC), "main", most_pictures=3)
    files = opened(export_person(person, blobs.get, request))
    assert files.namelist() == ["route.json", "001-gate-10.jpg", "002-hall-30.jpg", "003-gate-10.jpg"]
    shown = opened(export_person(person, blobs.get, replace(request, with_heads=True)))
    head, below = (slice(0, 18), slice(0, 50)), (slice(30, 100), slice(0, 50))
    hidden, open_ = (grey(each.read("001-gate-10.jpg")) for each in (files, shown))
    assert np.diff(hidden[head], axis=0).std() < 0.5 * np.diff(open_[head], axis=0).std()
    assert np.corrcoef(hidden[below].ravel(), open_[below].ravel())[0, 1] > 0.9
    blobs.delete(keys[0])
    assert opened(export_person(person, blobs.get, request)).namelist()[1:] == ["002-hall-30.jpg", "003-gate-10.jpg"]


def test_an_account_exports_in_its_own_name(deps: ApiDependencies) -> None:
    ines = program(deps, "ines", Role.INVESTIGATOR)
    files = opened(ines.post("/api/v1/identities/1/export", json=WHO).content)
    assert json.loads(files.read("route.json"))["notice"] == WORDS.replace("anna", "ines")


def test_an_export_holds_what_the_granted_cameras_saw_alone(deps: ApiDependencies) -> None:
    viewer = deps.of_caller(Caller("vera", Role.VIEWER, frozenset({CameraId("lobby")})))
    files = opened(bytes(export_identity(viewer, 1, ExportBody(with_heads=True)).body))
    whole = opened(bytes(export_identity(deps.of_caller(ANYBODY_HERE), 1, ExportBody(with_heads=True)).body))
    assert {name.split("-")[1] for name in whole.namelist()[1:]} == {"lobby", "yard"}
    assert {name.split("-")[1] for name in files.namelist()[1:]} == {"lobby"}
    assert "yard" not in files.read("route.json").decode()


@pytest.mark.parametrize("body", [{"made_by": "  "}, {"made_by": "a\nb"}, WHO | {"most_pictures": 100_000}])
def test_nobody_exports_under_no_name_or_without_end(client: TestClient, body: dict[str, object]) -> None:
    assert client.post("/api/v1/identities/1/export", json=body).status_code == 422


def test_an_unknown_person_is_not_exported(client: TestClient) -> None:
    assert client.post("/api/v1/identities/999/export", json=WHO).status_code in (404, 422)


@pytest.mark.parametrize("size", [(8, 4), (64, 32), (400, 300)])
@pytest.mark.parametrize("words", ["who, when", "x" * 300])
def test_the_words_are_across_the_picture_and_below_it(size: tuple[int, int], words: str) -> None:
    before = jpeg(painted((90, 90, 90), *size))
    shown = grey(watermarked(before, words))
    height, width = size
    assert shown.shape[0] > height and shown.shape[1] >= width
    assert (abs(shown[:height, :width] - 90) > 10).any() and (shown[height:] < 128).any()


def grey(content: bytes) -> np.ndarray:  # type: ignore[type-arg]
    with Pictures.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("L")).astype(int)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="not a readable JPEG"):
        watermarked(b"\xff\xd8\xff nothing", "who")

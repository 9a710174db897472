"""What nobody may reach through the API: files, other hosts, endless memory. See docs/privacy.md."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from pipeline.adapters.addresses import parse_address
from pipeline.adapters.sources import check_address
from pipeline.errors import ConfigurationError
from services.api.uploads import MAX_UPLOAD_BYTES
from tests.services.api.test_uploads import png_header

PLACES = [
    "/api/v1/crops/{}",
    "/api/v1/cameras/{}/snapshot.jpg",
    "/api/v1/identities/{}",
    "/api/v1/erasures/{}",
    "/api/v1/corrections/{}",
    "/api/v1/tracklets/{}/explanation",
    "/static/{}",
]
ESCAPES = [
    "../../../../etc/passwd",
    "..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "..\\..\\etc\\passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "....//....//etc/passwd",
    "passwd%00.jpg",
]


@pytest.mark.parametrize("place", PLACES)
def test_no_path_leads_out_of_the_data(client: TestClient, place: str) -> None:
    for escape in [*ESCAPES, *(quote(each, safe="") for each in ESCAPES)]:
        reply = client.get(place.format(escape))
        assert reply.status_code in (400, 404, 405, 422) and "root:" not in reply.text, escape


def test_no_question_names_an_address_so_none_can_send_the_server_anywhere(client: TestClient) -> None:
    """Cameras and other sites are named in the settings alone."""
    description = client.get("/api/v1/openapi.json").json()
    bodies = [schema for name, schema in description["components"]["schemas"].items() if not name.endswith("Reply")]
    fields = {field for schema in bodies for field in schema.get("properties", {})}
    fields |= {
        parameter["name"]
        for path in description["paths"].values()
        for method in path.values()
        for parameter in method.get("parameters", ())
    }
    assert len(fields) > 10
    assert not [field for field in fields if any(word in field for word in ("url", "address", "host", "path", "file"))]


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
@pytest.mark.parametrize("address", ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd"])
def test_no_camera_is_named_over_http(client: TestClient, method: str, address: str) -> None:
    before = client.get("/api/v1/cameras").json()
    for path in ("/api/v1/cameras", "/api/v1/cameras/gate"):
        assert client.request(method, path, json={"id": "spy", "address": address}).status_code in (404, 405)
    assert client.get("/api/v1/cameras").json() == before


@pytest.mark.parametrize("address", ["concat:/etc/passwd|x", "ftp://host/x", "data://text/plain,x", "pipe://0"])
def test_the_settings_too_name_only_what_can_be_a_camera(address: str) -> None:
    with pytest.raises(ConfigurationError):
        check_address(parse_address(address))


def upload(client: TestClient, content: bytes) -> Any:
    return client.post("/api/v1/search/image", files={"picture": ("person.png", content, "image/png")})


def test_a_picture_that_would_unpack_to_gigabytes_is_refused_unopened(client: TestClient) -> None:
    assert upload(client, png_header(60_000, 60_000)).status_code == 413


def test_an_endless_upload_is_ended(client: TestClient) -> None:
    assert upload(client, b"x" * (MAX_UPLOAD_BYTES + 100_000)).status_code == 413


def test_other_bodies_are_bounded_as_well(client: TestClient) -> None:
    body = {"global_id": 1, "made_by": "anna", "why": "x" * (MAX_UPLOAD_BYTES + 100_000)}
    assert client.post("/api/v1/erasures", json=body).status_code == 413

"""Pictures that people send: broken, huge, hostile."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image as Pictures

from pipeline.errors import InvalidQuery
from services.api.problems import TooLarge
from services.api.uploads import MAX_UPLOAD_BYTES, read_picture
from tests.fakes import jpeg, painted
from tests.small_site import COLOURS


def encoded(picture: Pictures.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def png_header(width_px: int, height_px: int) -> bytes:
    """A PNG whose header promises a size, and that holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_common_formats_are_read_as_rgb(kind: str) -> None:
    picture = read_picture(encoded(Pictures.new("RGB", (40, 90), (200, 30, 40)), kind))
    assert picture.shape == (90, 40, 3)
    assert np.abs(picture.mean((0, 1)) - (200, 30, 40)).max() < 6


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_colour_models_become_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert read_picture(encoded(Pictures.new(mode, (30, 60)), kind)).shape == (60, 30, 3)


def test_a_picture_from_a_phone_is_turned_upright() -> None:
    exif = Pictures.Exif()
    exif[0x0112] = 6  # lies on its side
    assert read_picture(encoded(Pictures.new("RGB", (90, 40)), "JPEG", exif=exif)).shape == (90, 40, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a picture",
        encoded(Pictures.new("RGB", (40, 90)), "GIF"),
        jpeg(painted((1, 2, 3)))[:200],
        png_header(40, 90),
    ],
)
def test_what_cannot_be_read_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidQuery, match="readable picture"):
        read_picture(content)


@pytest.mark.parametrize(("width_px", "height_px"), [(6000, 6000), (50_000, 50_000), (2_000_000_000, 1)])
def test_a_decompression_bomb_is_refused_by_its_header(width_px: int, height_px: int) -> None:
    with pytest.raises(TooLarge, match="pixels"):
        read_picture(png_header(width_px, height_px))


def test_a_tiny_picture_shows_nobody() -> None:
    with pytest.raises(InvalidQuery, match="at least 16"):
        read_picture(encoded(Pictures.new("RGB", (15, 90)), "PNG"))


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"nonsense", 422),
        (png_header(6000, 6000), 413),
        (b"x" * (MAX_UPLOAD_BYTES + 1), 413),
        (b"x" * (MAX_UPLOAD_BYTES + 100_000), 413),
    ],
)
def test_a_bad_upload_is_answered_and_told_what_to_do(client: TestClient, content: bytes, status: int) -> None:
    reply = client.post("/api/v1/search/image", files={"picture": ("p.png", content)})
    assert reply.status_code == status
    assert reply.json()["error"]["to_do"]


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(client: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="picture"; filename="p"\r\n\r\n'
        while sent < 20 * MAX_UPLOAD_BYTES:
            sent += 1 << 20
            yield bytes(1 << 20)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    reply = client.post("/api/v1/search/image", content=endless(), headers=headers)
    assert reply.status_code == 413


def test_a_missing_picture_is_named(client: TestClient) -> None:
    reply = client.post("/api/v1/search/image", data={"limit": "3"})
    assert reply.status_code == 422
    assert "picture" in reply.json()["error"]["found"]


def test_filters_beside_a_picture_are_kept(client: TestClient) -> None:
    files = {"picture": ("p.jpg", jpeg(painted(COLOURS["red"])))}
    found = client.post("/api/v1/search/image", files=files, data={"cameras": ["gate", "yard"], "since": "40m"})
    assert found.status_code == 200
    assert found.json()["people"] == []

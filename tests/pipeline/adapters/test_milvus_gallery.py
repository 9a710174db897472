from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.milvus_gallery import MilvusGallery, expression, parse_milvus_address
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.gallery import GalleryFilter

SECRET = "s3cret-pa55"


def test_a_server_is_named_with_what_the_client_needs() -> None:
    address = parse_milvus_address(f"milvus://lena:{SECRET}@vectors:19531/people?secure=true")
    assert (address.uri, address.token, address.collection) == ("https://vectors:19531", f"lena:{SECRET}", "people")
    assert address.shown == "milvus://vectors:19531/people"
    assert SECRET not in repr(address)
    assert parse_milvus_address("milvus://vectors").shown == "milvus://vectors:19530/sightline"


def test_an_address_without_a_host_is_a_file() -> None:
    address = parse_milvus_address("milvus:///var/lib/sightline/vectors.db")
    assert (address.uri, address.is_file) == ("/var/lib/sightline/vectors.db", True)


@pytest.mark.parametrize(
    "url",
    [f"milvus://lena:{SECRET}@", f"milvus://lena:{SECRET}@host:port", f"http://{SECRET}", "milvus://host/a-b", ""],
)
def test_an_address_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError, match="expected milvus://HOST") as caught:
        parse_milvus_address(url)
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"


def test_a_filter_is_said_in_the_words_of_milvus() -> None:
    assert expression(GalleryFilter()) == ""
    asked = GalleryFilter(("main",), ("gate", 'a "b"'), (), 1.5, 2.0)
    assert expression(asked) == (
        r'site in ["main"] and camera_id in ["gate", "a \"b\""] and ended_at >= 1.5 and started_at <= 2.0'
    )


def test_a_server_that_does_not_answer_is_unavailable_and_its_password_stays_hidden(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'sightline[milvus]'")
    address = parse_milvus_address(f"milvus://lena:{SECRET}@127.0.0.1:1/people")
    with pytest.raises(Unavailable, match=r"milvus://127\.0\.0\.1:1/people does not answer") as caught:
        MilvusGallery(address, "main", 8, "opening")
    assert SECRET not in f"{caught.value} {caplog.text}"


def test_without_milvus_lite_a_file_is_refused_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'sightline[milvus]'")
    for module in ("milvus_lite", "milvus_lite.server_manager"):
        monkeypatch.setitem(sys.modules, module, None)
    address = parse_milvus_address(f"milvus://{tmp_path / 'vectors.db'}")
    with pytest.raises(ConfigurationError, match=r"pip install 'sightline\[milvus-lite\]'"):
        MilvusGallery(address, "main", 8, "opening")


def test_without_a_client_the_kind_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    monkeypatch.setitem(sys.modules, "pymilvus.exceptions", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'sightline\[milvus\]'"):
        MilvusGallery(parse_milvus_address("milvus://vectors"), "main", 8, "opening")


def test_what_an_earlier_process_still_sends_reaches_nobody(tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed: pip install 'sightline[milvus-lite]'")
    address = parse_milvus_address(f"milvus://{tmp_path / 'vectors.db'}")
    look = np.eye(1, 8, dtype=np.float32)
    first, other_site = MilvusGallery(address, "main", 8, "first"), MilvusGallery(address, "annex", 8, "first")
    first.add(np.array([1]), look)
    other_site.add(np.array([5]), look)
    second = MilvusGallery(address, "main", 8, "second")
    with pytest.raises(Unavailable, match="does not exist"):
        first.add(np.array([2]), look)
    assert len(second) == 0
    assert other_site.nearest(look, 1)[0].tolist() == [[5]]
    for gallery in (first, second, other_site):
        gallery.close()

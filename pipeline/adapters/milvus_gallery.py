"""The gallery in Milvus: a server or cluster, or a file that milvus-lite keeps; the client is the same."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import numpy as np

from pipeline.adapters.exact_gallery import check_vectors
from pipeline.contracts import F32, I64
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.gallery import GalleryFacts, GalleryFilter

log = logging.getLogger(__name__)

EXPECTED = "milvus://HOST:19530/COLLECTION, with USER:PASSWORD@ where needed, or milvus:///path/to/file.db"
_PORT = 19530
_COLLECTION = "sightline"
_TIMEOUT_S = 30.0
_AT_ONCE = 4096  # rows in one request: 8 MB of 512 values each, of the 64 MB that a server takes by default
_LONGEST_NAME = 200
_NEVER = 1e300  # a row without facts begins after and ends before everything


@dataclass(frozen=True, slots=True)
class MilvusAddress:
    """Where the vectors are kept."""

    uri: str  # of the client: http://…, https://…, or a file
    token: str = field(repr=False)
    collection: str  # the beginning of the names of all collections
    is_file: bool
    shown: str


def parse_milvus_address(url: str) -> MilvusAddress:
    """`?secure=true` asks a server for TLS. Raises `ConfigurationError`, which does not repeat the address."""
    unreadable = ConfigurationError(f"the Milvus address cannot be read; expected {EXPECTED}")
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
    except ValueError:
        raise unreadable from None
    path = unquote(parts.path)
    if parts.scheme != "milvus" or not (parts.hostname or path.strip("/")):
        raise unreadable
    if not parts.hostname:
        return MilvusAddress(path, "", _COLLECTION, is_file=True, shown=f"milvus://{path}")
    collection = path.strip("/") or _COLLECTION
    if not collection.isidentifier():
        raise unreadable
    is_secure = dict(parse_qsl(parts.query)).get("secure") == "true"
    token = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    server = f"{parts.hostname}:{port}"
    uri = f"{'https' if is_secure else 'http'}://{server}"
    return MilvusAddress(uri, token, collection, is_file=False, shown=f"milvus://{server}/{collection}")


class MilvusGallery:
    """One site's vectors in a collection of their own, which replaces what earlier galleries of the site have left.

    A collection belongs to one opening, so what an earlier process still sends finds nothing to change. A file is
    searched exactly; a server by the index that it chooses itself (AUTOINDEX), which may miss some of the nearest.
    """

    def __init__(self, address: MilvusAddress, site: str, dimension: int, opening: str) -> None:
        """`opening` is unique: letters and digits. Raises `Unavailable` while Milvus does not answer."""
        self._address = address
        self._dimension = dimension
        # Names of collections know neither dots nor dashes, and sites do.
        family = f"{address.collection}_{hashlib.sha256(site.encode()).hexdigest()[:12]}_"
        self._collection = family + opening
        with self._errors():
            self._client = _client(address)
            for name in self._client.list_collections(timeout=_TIMEOUT_S):
                if name.startswith(family):
                    self._client.drop_collection(name, timeout=_TIMEOUT_S)
            self._create()
        log.info("vectors of site %s are kept in %s of %s", site, self._collection, address.shown)

    def close(self) -> None:
        self._client.close()

    def add(self, rows: I64, vectors: F32, facts: GalleryFacts | None = None) -> None:
        """Row numbers (N,) and unit vectors (N, D). A row that exists is replaced; of two alike the last one counts."""
        check_vectors(vectors, self._dimension)
        latest = {row: place for place, row in enumerate(rows.tolist())}
        entries = [{"row": row, "vector": vectors[place], **_facts(facts, place)} for row, place in latest.items()]
        with self._errors():
            for start in range(0, len(entries), _AT_ONCE):
                self._client.upsert(self._collection, entries[start : start + _AT_ONCE], timeout=_TIMEOUT_S)

    def remove(self, rows: I64) -> None:
        """Unknown rows are passed over."""
        numbers = rows.tolist()
        with self._errors():
            for start in range(0, len(numbers), _AT_ONCE):
                self._client.delete(self._collection, ids=numbers[start : start + _AT_ONCE], timeout=_TIMEOUT_S)

    def nearest(self, vectors: F32, top_k: int, only: GalleryFilter | None = None) -> tuple[I64, F32]:
        """(N, k) row numbers and similarities, best first; -1 and -inf fill what is missing."""
        check_vectors(vectors, self._dimension)
        found = np.full((len(vectors), top_k), -1, np.int64)
        similarities = np.full((len(vectors), top_k), -np.inf, np.float32)
        if not len(vectors):
            return found, similarities
        with self._errors():
            answers = self._client.search(
                self._collection,
                data=list(vectors),
                limit=top_k,
                filter=expression(only or GalleryFilter()),
                search_params={"metric_type": "IP"},
                timeout=_TIMEOUT_S,
            )
        for query, hits in enumerate(answers):
            found[query, : len(hits)] = [hit["row"] for hit in hits]
            similarities[query, : len(hits)] = [hit["distance"] for hit in hits]
        return found, similarities

    def __len__(self) -> int:
        with self._errors():
            (counted,) = self._client.query(self._collection, output_fields=["count(*)"], timeout=_TIMEOUT_S)
        return int(counted["count(*)"])

    def _create(self) -> None:
        from pymilvus import DataType

        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("row", DataType.INT64, is_primary=True)
        for name in ("site", "camera_id", "model_digest"):
            schema.add_field(name, DataType.VARCHAR, max_length=_LONGEST_NAME)
        for name in ("started_at", "ended_at"):
            schema.add_field(name, DataType.DOUBLE)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self._dimension)
        index = self._client.prepare_index_params()
        index.add_index("vector", index_type="FLAT" if self._address.is_file else "AUTOINDEX", metric_type="IP")
        # Strong: whoever has added or removed a row sees it in the next answer.
        self._client.create_collection(
            self._collection, schema=schema, index_params=index, consistency_level="Strong", timeout=_TIMEOUT_S
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            from pymilvus.exceptions import MilvusException
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"{error.name} is not installed; expected it for gallery kind 'milvus': pip install 'sightline[milvus]'"
            ) from error
        try:
            yield
        except MilvusException as error:
            message = " ".join(str(error.message).split())[:300]
            if "auth" in message.lower():
                raise ConfigurationError(
                    f"{self._address.shown} refuses the user or the password; correct SIGHTLINE_MILVUS_URL"
                ) from None
            if "milvus-lite" in message:
                raise ConfigurationError(
                    "milvus-lite is not installed; expected it for a file: pip install 'sightline[milvus-lite]', which "
                    "brings faiss-cpu and must not stand beside faiss-gpu"
                ) from error
            raise Unavailable(
                f"{self._address.shown} does not answer ({message}); is it running, and is nobody else using this file?"
            ) from error


def expression(only: GalleryFilter) -> str:
    """A filter in the words of Milvus; empty where nothing is asked for."""
    named = {"site": only.sites, "camera_id": only.camera_ids, "model_digest": only.model_digests}
    terms = [f"{name} in {json.dumps(list(values))}" for name, values in named.items() if values]
    if only.since_at is not None:
        terms.append(f"ended_at >= {only.since_at!r}")
    if only.until_at is not None:
        terms.append(f"started_at <= {only.until_at!r}")
    return " and ".join(terms)


def _client(address: MilvusAddress) -> Any:
    from pymilvus import MilvusClient

    # It logs each error with its whole traceback before raising it.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return MilvusClient(address.uri, token=address.token, timeout=_TIMEOUT_S)


def _facts(facts: GalleryFacts | None, place: int) -> dict[str, str | float]:
    if facts is None:
        return {"site": "", "camera_id": "", "model_digest": "", "started_at": _NEVER, "ended_at": -_NEVER}
    return {
        "site": facts.sites[place],
        "camera_id": facts.camera_ids[place],
        "model_digest": facts.model_digests[place],
        "started_at": float(facts.started_at[place]),
        "ended_at": float(facts.ended_at[place]),
    }

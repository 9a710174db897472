"""What every service does the same way: logs, signals, metrics, readiness, and adapters opened from settings."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import logging
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.adapters.clock import SystemClock
from pipeline.errors import ConfigurationError
from services.settings import Settings
from services.supervisor import READY_FILE_VARIABLE, SUPERVISOR_VARIABLE

if TYPE_CHECKING:
    from pipeline.adapters.account_store import SqlAccounts
    from pipeline.adapters.audit_store import AuditStore
    from pipeline.adapters.blobs import FsBlobs
    from pipeline.adapters.database import Fence
    from pipeline.adapters.model_board import RedisModelBoard
    from pipeline.adapters.redis_bus import BusConfig, RedisBus
    from pipeline.adapters.status_board import RedisStatusBoard
    from pipeline.adapters.store import SqlStore
    from pipeline.gallery import Gallery
    from reid_models.inference import BundleEncoder
    from reid_models.registry import Registry

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_is_ready = False


class StoppableClock(SystemClock):
    """Its sleep ends when the service is asked to stop."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def sleep(self, duration_s: float) -> None:
        self._stop.wait(duration_s)


@contextlib.contextmanager
def service(name: str, settings: Settings) -> Iterator[threading.Event]:
    """The surroundings of one service process. Yields the event that asks its loop to stop (SIGTERM, Ctrl-C)."""
    configure_logging(name, settings)
    stop = threading.Event()

    def ask_to_stop(*_: object) -> None:
        stop.set()
        if not _is_ready:  # still loading, perhaps for long, and with nothing in hand
            sys.exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    if supervisor := os.environ.get(SUPERVISOR_VARIABLE):
        _stop_with_parent(int(supervisor))
    with serving_metrics(settings.metrics_host, settings.metrics_port):
        log.info("%s starts for site %s", name, settings.site)
        yield stop
        log.info("%s has stopped", name)


def announce_ready() -> None:
    """Tell the supervisor, if there is one, that this service works. From here on a request to stop lets it finish."""
    global _is_ready
    _is_ready = True
    path = os.environ.get(READY_FILE_VARIABLE)
    if path:
        Path(path).touch()


def configure_logging(name: str, settings: Settings) -> None:
    """Log lines to standard error, as text or as one JSON object each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines(name) if settings.log_format == "json" else _TextLines(name))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@contextlib.contextmanager
def serving_metrics(host: str, port: int) -> Iterator[None]:
    """Prometheus metrics of this process while the block runs; port 0 means none.

    Raises `ConfigurationError` for a port that is taken.
    """
    if port == 0:
        yield
        return
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, addr=host)
    except OSError as error:
        raise ConfigurationError(
            f"metrics port {host}:{port} cannot be opened ({error.strerror}); "
            "set SIGHTLINE_METRICS_PORT to a free port, or to 0 for no metrics"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def redis_address(settings: Settings) -> str:
    """The bus of this site: as set, else the embedded server of `data_dir`."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    from pipeline.adapters.redis_server import EmbeddedRedis, socket_path

    folder = redis_folder(settings)
    if not socket_path(folder).exists():
        raise ConfigurationError(
            f"no Redis is given, and no embedded server runs in {folder}; set REDIS_URL=redis://host:6379, "
            "or start the whole system with `sightline up`"
        )
    return EmbeddedRedis(folder).url


def redis_folder(settings: Settings) -> Path:
    return settings.data_dir.resolve() / "redis"


def open_bus(settings: Settings, config: BusConfig | None = None) -> RedisBus:
    """The bus of this site; `config` for a service with rules of its own, its size limit always as set."""
    from pipeline.adapters.redis_bus import BusConfig, RedisBus

    chosen = replace(config or BusConfig(), max_stream_bytes=settings.bus_max_bytes)
    return RedisBus(redis_address(settings), settings.site, chosen)


def open_status_board(settings: Settings) -> RedisStatusBoard:
    from pipeline.adapters.status_board import RedisStatusBoard

    return RedisStatusBoard(redis_address(settings), settings.site)


def open_model_board(settings: Settings) -> RedisModelBoard:
    from pipeline.adapters.model_board import RedisModelBoard

    return RedisModelBoard(redis_address(settings), settings.site)


def open_store(settings: Settings, fence: Fence | None = None) -> SqlStore:
    """The database, brought to the newest schema; with `fence` for one who writes only while it is its turn."""
    from pipeline.adapters.store import SqlStore, upgrade

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    upgrade(settings.database)
    return SqlStore(settings.database, fence=fence)


def open_accounts(settings: Settings) -> tuple[SqlAccounts, AuditStore]:
    """Accounts and the audit log, over one connection to the database of the newest schema."""
    from pipeline.adapters.account_store import SqlAccounts
    from pipeline.adapters.audit_store import AuditStore
    from pipeline.adapters.clock import SystemClock
    from pipeline.adapters.database import Database
    from pipeline.adapters.store import upgrade

    settings.data_dir.mkdir(parents=True, exist_ok=True)
    upgrade(settings.database)
    database = Database(settings.database)
    return SqlAccounts(database), AuditStore(database, SystemClock())


def gallery_opener(settings: Settings) -> Callable[[int], Gallery]:
    """Makes the chosen gallery, empty, for vectors of a dimension. Raises `ConfigurationError` for a bad address."""
    chosen = settings.matching.gallery
    if chosen != "milvus":
        from pipeline.adapters.galleries import open_gallery

        return functools.partial(open_gallery, chosen)
    from pipeline.adapters.milvus_gallery import MilvusGallery, parse_milvus_address

    address = parse_milvus_address(settings.milvus)
    return lambda dimension: MilvusGallery(address, settings.site, dimension, uuid.uuid4().hex)


def open_blobs(settings: Settings) -> FsBlobs:
    from pipeline.adapters.blobs import FsBlobs
    from pipeline.adapters.sealing import open_seal

    keys = settings.blob_keys
    return FsBlobs(settings.blobs, open_seal(None if keys is None else keys.get_secret_value(), settings.blob_key_file))


def open_registry(settings: Settings) -> Registry:
    """The models of this site."""
    from reid_models.registry import Registry

    return Registry(settings.models)


def model_source(settings: Settings) -> str:
    """The wanted model, as `embedding.model` names it; for `serving` the bundle folder that the pointer names now."""
    from reid_models.registry import SERVING

    chosen = settings.embedding.model
    return str(open_registry(settings).wanted()) if chosen == SERVING else chosen


def open_encoder(settings: Settings, source: str | None = None) -> BundleEncoder:
    """The model of `source`, by default the wanted one, on its device. Torch is imported here, not before."""
    from reid_models.inference import load_encoder

    chosen = settings.embedding
    return load_encoder(source or model_source(settings), device=chosen.device, threads=chosen.threads or None)


def _stop_with_parent(supervisor: int) -> None:
    """Ask the kernel for a SIGTERM when the supervisor (a process number) dies, so that nothing runs on behind it.

    Ends the process if the supervisor has died already: of that the kernel tells nobody.
    """
    with contextlib.suppress(OSError, AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != supervisor:
        log.warning("the supervisor, process %d, has ended before this service began", supervisor)
        sys.exit(0)


class _TextLines(logging.Formatter):
    def __init__(self, service_name: str) -> None:
        super().__init__(f"%(asctime)s {service_name} %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        self.converter = time.gmtime


class _JsonLines(logging.Formatter):
    def __init__(self, service_name: str) -> None:
        super().__init__()
        self._service = service_name

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": record.created,
            "service": self._service,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)

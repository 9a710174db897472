"""`sightline api`: settings → database, blobs, model, bus → the application on its port."""

from __future__ import annotations

import threading

import uvicorn

from pipeline.adapters.clock import SystemClock
from pipeline.contracts import CameraId
from pipeline.search.people import PeopleSearch
from services.api.app import create_app
from services.api.dependencies import ApiDependencies
from services.local_zone import local_zone
from services.query import search_config
from services.runtime import open_blobs, open_bus, open_encoder, open_status_board, open_store, service
from services.settings import Settings
from services.supervisor import announce_ready


def run(settings: Settings) -> None:
    """Serve until a signal. Raises `ConfigurationError` before anything starts where the settings cannot work."""
    with service("api", settings) as stop:
        store, bus, encoder = open_store(settings), open_bus(settings), open_encoder(settings)
        app = create_app(
            ApiDependencies(
                search=PeopleSearch(store, encoder, search_config(encoder.calibration), encoder.unknown_words),
                blobs=open_blobs(settings),
                board=open_status_board(settings),
                clock=SystemClock(),
                zone=local_zone(),
                site=settings.site,
                host=settings.api.host,
                token=settings.api.token.get_secret_value() if settings.api.token else None,
                configured_cameras=tuple(CameraId(camera.id) for camera in settings.cameras),
                checks={"database": store.next_global_id, "redis": bus.ping, "model": lambda: encoder.digest},
            )
        )
        server = uvicorn.Server(
            uvicorn.Config(app, settings.api.host, settings.api.port, log_config=None, access_log=False)
        )
        # The signal handlers are ours; uvicorn is told to end by its own flag.
        thread = threading.Thread(target=server.run, name="http")
        thread.start()
        while thread.is_alive() and not (server.started or stop.is_set()):
            thread.join(0.05)
        if server.started:
            announce_ready()
        while thread.is_alive() and not stop.wait(0.5):
            pass
        server.should_exit = True
        thread.join()

"""`sightline api`: settings → database, blobs, model, bus → the application on its port."""

from __future__ import annotations

import gc
import os
import socket
import threading
from collections.abc import Callable

import uvicorn
from threadpoolctl import threadpool_limits

from pipeline.adapters.addresses import parse_address
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.standing_book import StandingBook
from pipeline.adapters.track_names import TrackNames
from pipeline.adapters.watch_book import WatchBook
from pipeline.contracts import CameraId
from pipeline.errors import ConfigurationError, SightlineError
from pipeline.search.people import PeopleSearch
from services.alert_desk import AlertDesk
from services.api.app import create_app
from services.api.crop_views import CropViews
from services.api.dependencies import ApiDependencies
from services.api.exposure import Transport, check_exposure
from services.api.live_wall import LiveWall
from services.api.long_work import LongWork
from services.api.oidc import IdentityProvider, ProviderConfig
from services.api.other_sites import open_site
from services.api_settings import OidcSettings
from services.local_zone import local_zone
from services.operations import Operations
from services.runtime import announce_ready, open_accounts, open_blobs, open_bus, open_status_board, open_store, service
from services.search_models import SearchModels
from services.settings import Settings
from services.site_models import SiteModels

_GRACE_S = 3


def run(settings: Settings) -> None:
    """Serve until a signal. Raises `ConfigurationError` before anything starts where the settings cannot work."""
    check_exposure(settings)
    threadpool_limits(limits=1, user_api="blas")  # the products of a search are small, as the matcher's
    with service("api", settings) as stop, listening(settings.api.host, settings.api.port) as listener:
        accounts, audit = open_accounts(settings)
        store, bus = open_store(settings), open_bus(settings)
        clock = SystemClock()
        keep_previous_s = 3600.0 * settings.embedding.keep_previous_h
        models = SearchModels(SiteModels(settings), store, clock, keep_previous_s, settings.search.false_answers)
        search = PeopleSearch(store, models)
        for camera in settings.cameras:
            address = parse_address(camera.address.get_secret_value())
            store.upsert_camera(CameraId(camera.id), address.public, clock.now())
        deps = ApiDependencies(
            search=search,
            blobs=open_blobs(settings),
            board=LiveWall(open_status_board(settings), TrackNames(store.database), clock),
            corrections=store,
            explanations=store,
            forgetting=store,
            keeping=settings.keeping,
            alerts=AlertDesk(
                StandingBook(store.database),
                WatchBook(store.database),
                models,
                clock,
                settings.alerts.false_alarm_budget,
            ),
            clock=clock,
            zone=local_zone(),
            operations=Operations.of(settings, clock),
            work=LongWork(clock),
            accounts=accounts,
            audit=audit,
            cameras_of_crop=store.cameras_of_crop,
            crop_views=CropViews(store.persons_of_crop, clock),
            site=settings.site,
            host=settings.api.host,
            token=settings.api.token.get_secret_value() if settings.api.token else None,
            provider=open_provider(settings.api.oidc),
            session_s=3600.0 * settings.api.session_h,
            open_metrics=settings.api.open_metrics,
            needs_reason=settings.api.search_reason,
            configured_cameras=tuple(CameraId(camera.id) for camera in settings.cameras),
            other_sites=tuple(
                open_site(name, other.address, other.token.get_secret_value() if other.token else None)
                for name, other in settings.api.other_sites.items()
            ),
            checks={"database": store.next_global_id, "redis": bus.ping, "model": search.check_model},
        )
        # What start-up made stays: to look at all of it would stop every question for a third of a second, again and
        # again.
        gc.collect()
        gc.freeze()
        follower = threading.Thread(target=models.keep_ready, args=(stop,), name="models", daemon=True)
        follower.start()
        serve(deps, listener, stop, announce_ready, Transport.of(settings.api))
        follower.join()


def open_provider(chosen: OidcSettings | None) -> IdentityProvider | None:
    """The identity provider, asked at the first login."""
    if chosen is None:
        return None
    secret = chosen.client_secret.get_secret_value() if chosen.client_secret else None
    values = chosen.model_dump(exclude={"client_secret"})
    return IdentityProvider(ProviderConfig(client_secret=secret, **values))


def listening(host: str, port: int) -> socket.socket:
    """A socket that accepts connections, opened before the slow parts start. Raises `ConfigurationError`."""
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Connections inherit it; asyncio sets it only on sockets of its own making. Without it the second piece of an
        # answer waits for the acknowledgement of the first, which others hold back for 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise ConfigurationError(
            f"{host}:{port} cannot be opened ({os.strerror(error.errno or 0)}); "
            "choose another with --port, or stop what uses it"
        ) from error


def serve(
    deps: ApiDependencies,
    listener: socket.socket,
    stop: threading.Event,
    on_ready: Callable[[], object],
    transport: Transport | None = None,
) -> None:
    """Answer requests on `listener` until `stop` is set."""
    transport = transport or Transport()
    app = create_app(deps)
    config = uvicorn.Config(
        app,
        log_config=None,
        # Questions stand in addresses, and whom somebody looks for belongs into no log.
        access_log=False,
        server_header=False,
        proxy_headers=bool(transport.trusted_proxies),
        forwarded_allow_ips=list(transport.trusted_proxies),
        ssl_certfile=transport.certificate,
        ssl_keyfile=transport.key,
        lifespan="off",
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(config)
    # In a thread, because there uvicorn leaves the signals to us.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="http")
    thread.start()
    while thread.is_alive() and not (server.started or stop.is_set()):
        thread.join(0.02)
    if server.started:
        on_ready()
    while thread.is_alive() and not stop.wait(0.2):
        pass
    app.state.alert_feed.close()
    server.should_exit = True
    thread.join()
    if not stop.is_set():
        raise SightlineError("the HTTP server ended by itself; expected it to serve until stopped: see the log above")

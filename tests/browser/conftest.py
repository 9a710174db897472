"""A real server on a loopback port, over a database of simulated people, and a real browser to look at it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pipeline.adapters.simulation.site import CYCLE_S, SimulatedSite
from pipeline.adapters.simulation.truth import true_boxes
from pipeline.contracts import CameraState, Image, TrackInView
from services.api.dependencies import ApiDependencies
from services.api.main import listening, serve
from tests.fakes import jpeg
from tests.small_site import SmallSite, Stay, api_dependencies, camera_status, small_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
Open = Callable[..., AbstractContextManager["Page"]]
CAMERA_NAMES = ("lobby", "yard", "north-gate")


@dataclass(frozen=True, slots=True)
class LivePicture:
    """What a camera shows."""

    image: Image
    in_view: tuple[TrackInView, ...]


@dataclass(frozen=True, slots=True)
class Served:
    """A running page."""

    address: str
    site: SmallSite


@pytest.fixture(scope="session")
def simulated_stays() -> tuple[list[Stay], list[LivePicture]]:
    """Visits of simulated people with one crop each, and what each camera shows."""
    site = SimulatedSite(3, cameras=len(CAMERA_NAMES), people=9)
    start_s, length_s = CYCLE_S, 300.0
    stays = []
    for visit in site.visits(start_s, start_s + length_s):
        middle_s = (visit.started_s + visit.ended_s) / 2
        for box in true_boxes(site, visit.camera, middle_s):
            if box.person_id != visit.person_id or box.visibility < 0.6:
                continue
            x1, y1, x2, y2 = (max(round(edge), 0) for edge in box.box_px)
            picture = np.ascontiguousarray(site.render(visit.camera, middle_s)[y1:y2, x1:x2])
            ago_s = start_s + length_s + 5.0 - visit.started_s
            lasted_s = visit.ended_s - visit.started_s
            stays.append(Stay(box.person_id, CAMERA_NAMES[visit.camera], ago_s, picture, lasted_s))
    return stays, [_shown(site, camera, start_s, start_s + length_s, stays) for camera in range(len(CAMERA_NAMES))]


@pytest.fixture(scope="module")
def served(
    simulated_stays: tuple[list[Stay], list[LivePicture]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    stays, pictures = simulated_stays
    site = small_site(stays, tmp_path_factory.mktemp("database"))
    for name, shown, state in zip(CAMERA_NAMES, pictures, ("up", "down", "up"), strict=True):
        error = "connection refused; check that the camera is switched on" if state == "down" else ""
        status = camera_status(name, CameraState(state), people=len(shown.in_view), last_error=error)
        height_px, width_px = shown.image.shape[:2]
        seen = {"width_px": width_px, "height_px": height_px, "boot_id": "b1", "in_view": shown.in_view}
        site.board.report(status.model_copy(update=seen), None if state == "down" else jpeg(shown.image))
    with running(api_dependencies(site)) as address:
        yield Served(address, site)
    site.store.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one file: the driver's event loop runs on in this thread, where other files may want their own."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed; apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, served: Served) -> Open:
    @contextmanager
    def opened(**options: Any) -> Iterator[Page]:
        context = browser.new_context(base_url=served.address, **{"viewport": DESK} | options)
        page = context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if "Security Policy" in message.text else None)
        try:
            yield page
            assert not faults
        finally:
            context.close()

    return opened


@contextmanager
def running(deps: ApiDependencies) -> Iterator[str]:
    """The address of the real server on a free loopback port."""
    stop, ready = threading.Event(), threading.Event()
    listener = listening("127.0.0.1", 0)
    thread = threading.Thread(target=serve, args=(deps, listener, stop, ready.set))
    thread.start()
    try:
        assert ready.wait(30.0)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        thread.join()


def _shown(site: SimulatedSite, camera: int, since_s: float, until_s: float, stays: list[Stay]) -> LivePicture:
    """The fullest moment, by the tracks of the visits; who was never archived is not known yet."""
    visits = [visit for visit in site.visits(since_s, until_s) if visit.camera == camera]
    moments = [(visit.started_s + visit.ended_s) / 2 for visit in visits]
    time_s = max(moments, key=lambda moment: len(true_boxes(site, camera, moment)))
    image = site.render(camera, time_s)
    sides = np.array(image.shape[1::-1] * 2)
    tracks = {stay.global_id: stay.track_id for stay in stays if stay.camera_id == CAMERA_NAMES[camera]}
    in_view = []
    for box in true_boxes(site, camera, time_s):
        x1, y1, x2, y2 = np.clip(np.array(box.box_px) / sides, 0.0, 1.0).tolist()
        in_view.append(TrackInView(track_id=tracks.get(box.person_id, 10**6), box=(x1, y1, x2, y2)))
    return LivePicture(image, tuple(in_view))

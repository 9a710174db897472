"""Another model on a running site: real processes on simulated cameras, each killed in the middle, always asked."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.store import SqlStore
from pipeline.contracts import IdentityEvent, IdentityEventKind, StreamName, TrackletCrops, TrackletId
from pipeline.kept import ModelSwitch
from pipeline.matching.worker import MatcherConfig
from pipeline.runtimes.machine import CACHE_VARIABLE
from pipeline.runtimes.trial import Outcome, Trial
from reid_models.bundle import load_bundle, model_digest, save_bundle, stored_weights
from reid_models.manifest import DEFAULT_BUNDLE, read_manifest
from reid_models.registry import Registry
from reid_models.serving import trial
from reid_models.serving.artefacts import artefacts_of
from reid_models.serving.exporting import exported
from services import models
from services.encoders import trial_config
from services.evaluation.system import drained
from services.probe_crops import probe_crops
from services.runtime import open_bus, open_model_board, open_store
from services.settings import Settings, load
from services.up import RunningSystem, running_system, service_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CAMERAS = ("gate", "lobby")
FRESH = 3  # tracklets at most that were archived in the moment between a switch and a look at it
PEOPLE_FIRST = 10  # tracklets that are decided before the first promotion
SENTENCES = ("a woman in a red coat", "a man with a black backpack", "someone in blue trousers", "a person in green")


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model seen in a mirror: every value of its vectors has another sign at half of the places.

    It finds the same people in the same order; a question that meets vectors of the other gets another answer.
    """
    bundle, rng = load_bundle(DEFAULT_BUNDLE), np.random.default_rng(5)
    encoder, manifest = bundle.encoder, bundle.manifest

    def signs(width: int) -> torch.Tensor:
        return torch.tensor(rng.permutation(np.resize([1.0, -1.0], width)), dtype=torch.float32)

    with torch.no_grad():
        appearance, language = signs(manifest.appearance_width), signs(manifest.language_width)
        encoder.neck.weight.mul_(appearance)
        encoder.neck.forgotten.mul_(appearance)
        encoder.clip.visual.head.proj.weight.mul_(language[:, None])
        encoder.clip.text.text_projection.mul_(language)
    digest = model_digest(stored_weights(encoder), manifest.architecture, manifest.input, manifest.vocabulary)
    folder = tmp_path_factory.mktemp("made") / "mirrored"
    save_bundle(folder, encoder, manifest.model_copy(update={"digest": digest, "name": "mirrored"}))
    return folder


@pytest.fixture(scope="module")
def cache(mirrored: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both models exported, and ONNX Runtime kept as their runtime: embedders that are killed start without torch."""
    folder = tmp_path_factory.mktemp("cache")
    chosen = Trial(
        outcomes=(
            Outcome(runtime="torch", precision="fp32", crops_per_s=1.0),
            Outcome(runtime="onnxruntime", precision="fp32", crops_per_s=2.0),
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        patch.setattr(trial, "run_trial", lambda *_: chosen)
        for bundle in (DEFAULT_BUNDLE, mirrored):
            exported(load_bundle(bundle), artefacts_of(bundle))
            assert trial.kept_trial(bundle, trial_config(site_settings(folder)), probe_crops) == chosen
        yield folder


def site_settings(folder: Path) -> Settings:
    address = "simulated://site?seed=7&cameras=2&camera={}&people=8"
    return load(
        None,
        {
            "data_dir": folder,
            "api": {"port": 0},
            "metrics_port": 9560,
            "cameras": [
                {"id": name, "address": address.format(number), "analysed_fps": 5.0}
                for number, name in enumerate(CAMERAS)
            ],
            "tracking": {"detector": "motion"},
            "embedding": {"runtime": "onnxruntime", "precision": "fp32", "threads": 1, "repair_after_s": 5.0},
        },
    )


@contextmanager
def second_api(system: RunningSystem) -> Iterator[str]:
    """Another replica of the API, which nobody kills; yields its address once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    folder = system.settings.data_dir / "run"
    command = [sys.executable, "-m", "services.cli", "api", "-c", str(folder / "settings.yaml")]
    with (folder / "second-api.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--metrics-port", "0"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=service_environment(os.environ),
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: is_alive(address), 120.0, "the second API to answer")
        yield address
    finally:
        process.terminate()
        process.wait(60)


def is_alive(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz", timeout=5.0).status_code == 200
    except httpx.HTTPError:
        return False


def wait_for(condition: Callable[[], object], timeout_s: float, what: str, pause_s: float = 0.1) -> float:
    """Seconds until `condition` held."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < timeout_s, f"waited in vain for {what}"
        time.sleep(pause_s)
    return time.monotonic() - began_s


@dataclass
class Asker:
    """Asks one of two replicas all the time, the other one when the first is away, as a load balancer would."""

    addresses: tuple[str, str]
    latencies_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with httpx.Client(timeout=20.0) as client:
            turn = 0
            while not self.stop.wait(0.1):
                turn += 1
                self._ask(client, SENTENCES[turn % len(SENTENCES)], turn)

    def _ask(self, client: httpx.Client, sentence: str, turn: int) -> None:
        problems = []
        for address in (self.addresses[turn % 2], self.addresses[1 - turn % 2]):
            began_s = time.monotonic()
            try:
                response = client.get(f"{address}/api/v1/search", params={"q": sentence, "weak": True})
            except httpx.TransportError as error:
                problems.append(f"{address}: {type(error).__name__}")
                continue
            if response.status_code != 200:
                self.failures.append(f"{address}: {response.status_code} {response.text[:200]}")
            self.latencies_s.append(time.monotonic() - began_s)
            return
        self.failures.append("; ".join(problems))


@dataclass
class Watch:
    """What cameras sent and what was decided; a decision changes only by an event that names it."""

    system: RunningSystem
    store: SqlStore
    sent: set[TrackletId] = field(default_factory=set)
    decided: dict[str, int] = field(default_factory=dict)
    events: list[IdentityEvent] = field(default_factory=list)
    published: dict[int, IdentityEvent] = field(default_factory=dict)
    last_event: int = 0

    def __post_init__(self) -> None:
        self._bus = open_bus(self.system.settings)

    def look(self) -> None:
        self.system.supervisor.poll()
        while deliveries := self._bus.consume(StreamName.CROPS, "witness", "witness-1", 256, 0.0):
            self.sent |= {each.message.tracklet_id for each in deliveries if isinstance(each.message, TrackletCrops)}
            self._bus.acknowledge(deliveries, "witness")
        while deliveries := self._bus.consume(StreamName.IDENTITIES, "witness", "witness-1", 256, 0.0):
            said = (each.message for each in deliveries)
            self.published |= {event.event_id: event for event in said if isinstance(event, IdentityEvent)}
            self._bus.acknowledge(deliveries, "witness")
        while events := self.store.events_after(self.last_event, 500):
            self.last_event = events[-1].event_id
            self.events += events
            for event in events:
                self._follow(event)

    def _follow(self, event: IdentityEvent) -> None:
        named = set(event.tracklet_ids)
        if event.kind is IdentityEventKind.ASSIGNED:
            assert len(named) == 1 and not named & self.decided.keys(), f"{named} was decided twice"
        else:
            own = {name for name, person in self.decided.items() if person == event.from_global_id}
            assert named == own if event.kind is IdentityEventKind.MERGED else named < own, f"{event}: it was {own}"
        self.decided |= dict.fromkeys(event.tracklet_ids, event.global_id)

    def rest(self, duration_s: float) -> None:
        until_s = time.monotonic() + duration_s
        while time.monotonic() < until_s:
            self.look()
            time.sleep(0.1)

    def kill(self, name: str) -> None:
        wait_for(lambda: self.look() or self.system.supervisor.process_id(name), 40.0, f"{name} to run")
        process_id = self.system.supervisor.process_id(name)
        assert process_id is not None
        os.kill(process_id, signal.SIGKILL)
        self.look()

    def stop(self, name: str) -> None:
        """Let a service do nothing until it is killed."""
        process_id = self.system.supervisor.process_id(name)
        assert process_id is not None
        os.kill(process_id, signal.SIGSTOP)

    def lacking(self, digest: str) -> int:
        coverage = self.store.coverage(digest)
        return coverage.expected - coverage.covered

    def switch_to(self, digest: str, timeout_s: float = 90.0) -> float:
        """Seconds until the matcher has changed over."""
        return wait_for(lambda: self.look() or self.serving() == digest, timeout_s, f"{digest} to serve")

    def serving(self) -> str:
        return next((switch.model_digest for switch in self.switches()), "none")

    def switches(self) -> list[ModelSwitch]:
        return self.store.model_switches(9)

    def see_people_again(self) -> None:
        """Go on until somebody is recognised in a track that began after the last change."""
        wait_for(lambda: self.look() or knows_again(self.events, self.switches()[0]), 40.0, "people to be known again")

    def is_settled(self) -> bool:
        self.look()
        return self.sent <= self.decided.keys()


def answering(address: str) -> str:
    text = httpx.get(f"{address}/metrics", timeout=10.0).text
    (line,) = (line for line in text.splitlines() if line.startswith("sightline_model_info{"))
    return line.split('digest="')[1].split('"')[0]


def answers(address: str) -> list[list[tuple[int, float]]]:
    """The people and confidences that every sentence brings."""
    with httpx.Client(base_url=address, timeout=30.0) as client:
        replies = [client.get("/api/v1/search", params={"q": words, "weak": True, "limit": 5}) for words in SENTENCES]
    return [[(each["global_id"], each["confidence"]) for each in reply.json()["people"]] for reply in replies]


def logs(system: RunningSystem) -> str:
    folder = system.settings.data_dir / "run"
    return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted(folder.glob("*.log")))


def test_a_model_changes_under_traffic_and_kills_and_nobody_notices(
    tmp_path: Path, mirrored: Path, cache: Path
) -> None:
    old, new = read_manifest(DEFAULT_BUNDLE).digest, read_manifest(mirrored).digest
    settings, clock = site_settings(tmp_path / "data"), SystemClock()
    registry = Registry(settings.models)
    told: dict[str, float] = {"began": time.monotonic()}
    with running_system(settings) as system:
        watch = Watch(system, open_store(system.settings))
        watch.look()  # whoever has looked once misses nothing: the bus keeps what not every group has read
        with second_api(system) as replica:
            assert system.supervisor.wait_until_ready(120, lambda _: watch.look()), logs(system)
            asker = Asker((system.page, replica))
            asking = threading.Thread(target=asker.run)
            asking.start()
            try:
                wait_for(lambda: watch.look() or len(watch.decided) >= PEOPLE_FIRST, 60.0, "people to be seen")
                assert watch.serving() == old

                watch.stop("reembed")
                models.promote(registry, str(mirrored), "the test", clock)
                for name in ("embed", "match", "api", "archive"):
                    watch.rest(0.6)
                    watch.kill(name)
                board = open_model_board(system.settings)
                wait_for(
                    lambda: watch.look() or any(new in report.digests for report in board.reports()),
                    90.0,
                    "the embedder to load the successor",
                )
                watch.rest(2 * MatcherConfig().look_every_s)
                assert watch.serving() == old, "the archive lacks vectors: nobody may serve who knows nobody"
                lacking, resumed_s = watch.lacking(new), time.monotonic()
                assert lacking > 5
                watch.kill("reembed")
                wait_for(lambda: watch.look() or watch.lacking(new) < lacking, 60.0, "the archive to be embedded")
                watch.kill("reembed")
                watch.switch_to(new)
                told["archive resumed to switch"] = time.monotonic() - resumed_s
                assert watch.lacking(new) <= FRESH, "the switch came before the vectors"
                watch.kill("match")
                watch.see_people_again()

                registry.rollback(clock.now(), "the test")
                watch.rest(0.3)
                watch.kill("embed")
                told["rollback to switch"] = watch.switch_to(old)
                watch.see_people_again()

                registry.promote(new, clock.now(), "the test again")
                told["second promotion to switch"] = watch.switch_to(new)
                watch.see_people_again()

                system.supervisor.stop("camera")
                wait_for(watch.is_settled, 60.0, "every tracklet to be decided")
                assert drained(system, 30), logs(system)
                wait_for(lambda: answering(replica) == new, 30.0, "the API to follow")
                with_new = answers(replica)
                registry.rollback(clock.now(), "to compare")
                watch.switch_to(old)
                wait_for(lambda: answering(replica) == old, 30.0, "the API to follow")
                with_old = answers(replica)
            finally:
                asker.stop.set()
                asking.join()
                told |= summary(watch, asker)
                print(told)  # noqa: T201  shown with -s and where the test fails
        failed = logs(system)
        assert open_bus(system.settings).dead_letters(9) == [], failed
        watch.look()
        held = watch.store.tracklets(sorted(watch.sent))
        watch.store.close()

    assert asker.failures == [], failed
    assert len(asker.latencies_s) > 100
    assert len(watch.sent) > 20 and watch.decided.keys() == watch.sent
    assert watch.published == {event.event_id: event for event in watch.events}
    assert {name: tracklet.global_id for name, tracklet in held.items()} == watch.decided
    assert all(tracklet.crops for tracklet in held.values())
    assert [switch.model_digest for switch in reversed(watch_switches(tmp_path))] == [old, new, old, new, old]
    assert any(with_new) and with_new == with_old
    assert known_again(tmp_path), "after a change people were met anew"


def watch_switches(folder: Path) -> list[ModelSwitch]:
    with closing(SqlStore(f"sqlite:///{folder / 'data' / 'sightline.db'}")) as store:
        return store.model_switches(9)


def known_again(folder: Path) -> bool:
    """Whether after each change of the first three somebody was recognised who had been seen before it."""
    with closing(SqlStore(f"sqlite:///{folder / 'data' / 'sightline.db'}")) as store:
        events, switches = store.events_after(0, 10_000), list(reversed(store.model_switches(9)))
    return all(knows_again(events, switch) for switch in switches[1:4])


def knows_again(events: Sequence[IdentityEvent], switch: ModelSwitch) -> bool:
    """Whether after a change a track that began after it was given to somebody who had been seen before it."""
    before = [event for event in events if event.decided_at < switch.switched_at]
    people = {event.global_id for event in before}
    tracks = {name.rpartition("/")[0] for event in before for name in event.tracklet_ids}
    return any(
        event.global_id in people and event.tracklet_ids[0].rpartition("/")[0] not in tracks
        for event in events
        if event.kind is IdentityEventKind.ASSIGNED and event.decided_at > switch.switched_at
    )


def summary(watch: Watch, asker: Asker) -> dict[str, float]:
    latencies = np.array(asker.latencies_s or [0.0])
    return {
        "tracklets": len(watch.sent),
        "people": len(Counter(watch.decided.values())),
        "queries": len(latencies),
        "query p50 s": round(float(np.median(latencies)), 3),
        "query p95 s": round(float(np.percentile(latencies, 95)), 3),
        "query worst s": round(float(latencies.max()), 3),
    }

"""A run of the whole system, measured: its answers, its delay, what it lost, and how near it came to the truth."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from pipeline.adapters.bus_rules import GROUPS
from pipeline.adapters.simulation.words import TrueQuery
from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId
from pipeline.errors import Unavailable
from services.evaluation.simulated_run import SimulatedRun
from services.runtime import open_bus, open_store
from services.track_log import read_track_logs, settled
from services.up import RunningSystem

Found = list[dict[str, Any]]  # people as the API gives them, best first


@dataclass(frozen=True, slots=True)
class Answer:
    """The system's first answer to one question. `is_right`: the sentence is true of the person found."""

    sentence: str
    global_id: GlobalId | None
    confidence: float
    person_id: int | None  # who that identity really is, by most of its tracks
    is_right: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """What `--json` writes. Shares from 0 to 1; `frames_lost` by reason; `failures` are exit codes by service."""

    cameras: int
    seconds: float
    frames_analysed: int
    frames_lost: dict[str, float]
    tracklets: int
    people_seen: int
    identities: int
    tracking_idf1: float
    tracking_mota: float
    cross_camera_idf1: float
    queries: int
    query_precision_at_1: float
    capture_to_identity_p95_s: float | None
    is_drained: bool
    failures: dict[str, list[int]]


def ask_all(system: RunningSystem, run: SimulatedRun) -> list[tuple[TrueQuery, Answer, Found]]:
    """Ask the API every generated description that is true of somebody seen so far."""
    frames = settled(read_track_logs(system.settings.track_logs))
    people = run.people(frames, open_store(system.settings).track_identities())
    with httpx.Client(base_url=system.page, timeout=30.0) as client:
        return [(question, *_ask(client, question, people)) for question in run.questions(set(people.values()))]


def drained(system: RunningSystem, timeout_s: float) -> bool:
    """Whether, after the cameras stopped, everything they sent has reached its identity within the time."""
    bus = open_bus(system.settings)
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        backlogs = [bus.backlog(stream, group) for stream, groups in GROUPS.items() for group in groups]
        if not any(backlog.waiting + backlog.pending for backlog in backlogs):
            return True
        system.supervisor.poll()
        time.sleep(0.2)
    return False


def lost_frames(system: RunningSystem) -> dict[str, float]:
    """Frames that were not analysed, by reason, from the camera workers' own metrics."""
    lost: dict[str, float] = {}
    for port in system.metrics_ports("camera"):
        address = f"http://{system.settings.metrics_host}:{port}/metrics"
        try:
            text = httpx.get(address, timeout=10.0).text
        except httpx.HTTPError as error:
            raise Unavailable(
                f"{address} of a camera worker does not answer ({type(error).__name__}); "
                f"see its log in {system.settings.data_dir / 'run'}"
            ) from error
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "sightline_frames_dropped_total":
                    reason = sample.labels["reason"]
                    lost[reason] = lost.get(reason, 0.0) + sample.value
    return lost


def summarise(
    system: RunningSystem,
    run: SimulatedRun,
    answers: Sequence[Answer],
    lost: dict[str, float],
    is_drained: bool,
    since_at: float,
) -> Summary:
    """Everything that is known about the run once it is over.

    The delay is that of tracklets which ended after `since_at`, when all services were ready: cameras watch from the
    first second on, and what they see while a model is still being loaded waits for it.
    """
    store = open_store(system.settings)
    frames = settled(read_track_logs(system.settings.track_logs))
    identities = store.track_identities()
    score = run.score(frames, identities)
    latencies = _capture_to_identity_s(store, since_at)
    return Summary(
        cameras=len(system.settings.cameras),
        seconds=max(f.captured_at for f in frames) - min(f.captured_at for f in frames) if frames else 0.0,
        frames_analysed=len(frames),
        frames_lost=lost,
        tracklets=store.counts().tracklets,
        people_seen=score.cross_camera.persons,
        identities=len(set(identities.values())),
        tracking_idf1=score.tracking.idf1,
        tracking_mota=score.tracking.mota,
        cross_camera_idf1=score.cross_camera.idf1,
        queries=len(answers),
        query_precision_at_1=sum(a.is_right for a in answers) / len(answers) if answers else 0.0,
        capture_to_identity_p95_s=float(np.percentile(latencies, 95)) if latencies else None,
        is_drained=is_drained,
        failures=system.supervisor.failures(),
    )


def _ask(client: httpx.Client, question: TrueQuery, people: dict[GlobalId, int]) -> tuple[Answer, Found]:
    try:
        response = client.get("/api/v1/search", params={"q": question.sentence, "limit": 3, "weak": True})
        response.raise_for_status()
    except httpx.HTTPError as error:
        raise Unavailable(f"the API did not answer {question.sentence!r}: {type(error).__name__}") from error
    found: Found = response.json()["people"]
    if not found:
        return Answer(question.sentence, None, 0.0, None, False), []
    best = found[0]
    global_id = GlobalId(best["global_id"])
    person_id = people.get(global_id)
    answer = Answer(question.sentence, global_id, best["confidence"], person_id, person_id in question.person_ids)
    return answer, found


def _capture_to_identity_s(store: SqlStore, since_at: float) -> list[float]:
    delays, last = [], 0
    while events := store.events_after(last, 1000):
        last = events[-1].event_id
        ended = [(event.decided_at, event.ended_at) for event in events if event.ended_at is not None]
        delays += [decided_at - ended_at for decided_at, ended_at in ended if ended_at >= since_at]
    return delays

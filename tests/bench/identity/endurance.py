"""Many days at one site: whether memory, time and quality stay as they were on the second day."""

from __future__ import annotations

import gc
import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from pipeline.contracts import GlobalId, TrackletEmbedding, TrackletId
from services.evaluation.identity import score_identities
from services.evaluation.identity_answers import IdentityMatcher, Statement, TrueTracklet, answers_of, play
from services.evaluation.identity_report import judged_tracklets
from services.evaluation.vector_site import DAY_S, SimulatedPeople


@dataclass(frozen=True, slots=True)
class Day:
    """One day, judged when it is over. Times are of the processor, for one micro-batch, in milliseconds."""

    day: int
    tracklets: int
    people: int
    idf1: float  # of this day's tracklets
    found_again: float  # share of those who were there before, under the identity that most of their last visit had
    decision_p50_ms: float
    decision_p99_ms: float
    memory_mb: float  # of the whole process


class TimedMatcher:
    """`IdentityMatcher` that notes how long another one takes."""

    def __init__(self, matcher: IdentityMatcher) -> None:
        self._matcher = matcher
        self.took_s: list[float] = []

    def take(self, batch: Sequence[TrackletEmbedding], now: float) -> Sequence[Statement]:
        started_s = time.process_time()
        said = self._matcher.take(batch, now)
        if batch:
            self.took_s.append(time.process_time() - started_s)
        return said


def endure(people: SimulatedPeople, matcher: IdentityMatcher) -> list[Day]:
    """Play all days. What is kept from day to day is one identity for each person, so that memory is the matcher's.

    Revisions count on the day of their tracklets; later ones are not seen.
    """
    timed = TimedMatcher(matcher)
    usual: dict[int, GlobalId] = {}
    days = []
    for number, group in groupby(people, key=lambda seen: int(seen.arrived_at // DAY_S)):
        arrivals = list(group)
        timed.took_s.clear()
        finals = {name: answer.final for name, answer in answers_of(play(timed, arrivals)).items()}
        today = _usual_identities(arrivals, finals)
        returned = [person for person in today if person in usual]
        took_ms = 1000 * np.array(timed.took_s)
        days.append(
            Day(
                day=number + 1,
                tracklets=len(arrivals),
                people=len(today),
                idf1=score_identities(judged_tracklets(arrivals, finals)).idf1,
                found_again=sum(today[person] == usual[person] for person in returned) / max(1, len(returned)),
                decision_p50_ms=float(np.percentile(took_ms, 50)),
                decision_p99_ms=float(np.percentile(took_ms, 99)),
                memory_mb=_memory_mb(),
            )
        )
        usual |= today
    return days


def _usual_identities(arrivals: Sequence[TrueTracklet], finals: dict[TrackletId, GlobalId]) -> dict[int, GlobalId]:
    """The identity that most of a person's tracklets got."""
    votes: defaultdict[int, Counter[GlobalId]] = defaultdict(Counter)
    for seen in arrivals:
        if seen.true_id is not None:
            votes[seen.true_id][finals[seen.embedding.tracklet_id]] += 1
    return {person: counts.most_common(1)[0][0] for person, counts in votes.items()}


def _memory_mb() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

"""Standing queries: whom among those just seen a kept question means, how often it may say so, and what its false
alarms teach it. Pure.

A person is judged as by a search: by the better half of the tracklets, with the same fit and the same probability. Here
the newest few of the last hour count, before whichever camera. The cameras of a query say where it raises an alert, not
by what it judges.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.contracts import F32, F64, I64, CameraId, GlobalId, TrackletId
from pipeline.search.hearing import Heard
from pipeline.search.query import better_half
from pipeline.search.standing import StandingQuery
from pipeline.search.text_calibration import TextCalibration, chances

JUDGED_TRACKLETS = 8  # the newest of a person, the one just seen among them
JUDGED_S = 3600.0  # that began within so long before its end
BUDGET_S = 86_400.0

# Of what false alarms teach, in log-odds: how much one may teach, and all together. A slip of the finger must not
# silence a query.
MOST_AT_ONCE = 0.5
MOST_MARGIN = 3.0

Mask = npt.NDArray[np.bool_]
Place = tuple[int, GlobalId, CameraId]  # number of a query, person, camera


@dataclass(frozen=True, slots=True)
class Passers:
    """Tracklets in the order of their decisions, as columns. The last `fresh` of them are to be judged; those before
    are what was seen of the same people earlier."""

    events: I64  # (N,) the event that gave each its identity
    global_ids: I64  # (N,)
    camera_ids: Sequence[CameraId]
    started_at: F64  # (N,)
    ended_at: F64  # (N,)
    tracklet_ids: Sequence[TrackletId]
    vectors: F32  # (N, L) of language
    fresh: int

    def __len__(self) -> int:
        return len(self.events)


class Panel:
    """Standing queries as one model hears them; made once, and asked about every batch until a query or what
    similarities mean has changed."""

    def __init__(
        self,
        queries: Sequence[StandingQuery],
        heard: Sequence[Heard],
        curve: TextCalibration,
        false_alarm_budget: float,
    ) -> None:
        """`heard` are the questions of the queries."""
        self.queries = queries
        self.curve = curve
        things = [len(each.absent) for each in heard]
        terms = [*(each.present[None] for each in heard), *(each.absent for each in heard)]
        # (Q + T, L) for one product: what each asks for, then what must not be there
        self.terms: F32 = np.concatenate(terms) if terms else np.zeros((0, 0), np.float32)
        # (Q, A) the rows of `terms` that each query denies; the last of all, which fits nobody, where it denies fewer
        self.denied: I64 = np.full((len(queries), max(things, default=0)), -1, np.int64)
        for place, (count, end) in enumerate(zip(things, np.cumsum(things).tolist(), strict=True)):
            self.denied[place, :count] = len(queries) + np.arange(end - count, end)
        self.least = least_log_odds(curve, false_alarm_budget)
        # (Q,) what an alert needs by itself, and with what false alarms have added
        self.bare: F64 = np.array([curve.asked(each.wording.words).least_fit(self.least) for each in heard])
        margins = np.array([query.margin for query in queries], np.float64)
        self.thresholds: F64 = self.bare + margins / (curve.steepness or 1.0)
        self._on_after = np.array([np.inf if query.on_after is None else query.on_after for query in queries])
        self._asking: dict[CameraId, Mask] = {}

    def is_asked(self, asked: I64, events: I64, camera_ids: Sequence[CameraId]) -> Mask:
        """(P,) whether each of these queries, by its place, was on at the event beside it, and asks for its camera."""
        cameras = sorted(set(camera_ids))
        shown_by = np.array([cameras.index(camera_id) for camera_id in camera_ids], np.int64)
        asking = np.array([self._asking_for(camera_id) for camera_id in cameras])  # (C, Q)
        is_asked: Mask = (events > self._on_after[asked]) & asking[shown_by, asked]
        return is_asked

    def _asking_for(self, camera_id: CameraId) -> Mask:
        if camera_id not in self._asking:
            self._asking[camera_id] = np.array([query.asks_for(camera_id) for query in self.queries], np.bool_)
        return self._asking[camera_id]


@dataclass(frozen=True, slots=True)
class Hit:
    """Somebody whom a standing query means."""

    query: StandingQuery
    event: int
    tracklet_id: TrackletId  # the one that told
    global_id: GlobalId
    camera_id: CameraId
    started_at: float
    ended_at: float
    margin: float  # log-odds above the least that an alert needs; says the same whichever model serves
    confidence: float  # calibrated probability, as of a search

    @property
    def place(self) -> Place:
        return self.query.number, self.global_id, self.camera_id


@dataclass(frozen=True, slots=True)
class Judged:
    """What somebody said of one alert."""

    margin: float
    is_false: bool


def hits(passers: Passers, panel: Panel) -> list[Hit]:
    """Who is meant by which query, in the order of decisions, then of queries; every time anew, also again and again.

    What comes of a tracklet does not depend on which others are judged with it.
    """
    if not panel.queries or not passers.fresh:
        return []
    # (N + 1, Q + T + 1), the last row and column for none. Rounded as in a search: the last bits of a product depend on
    # the other rows of a matrix.
    told = np.full((len(passers) + 1, len(panel.terms) + 1), -np.inf, np.float32)
    np.round(passers.vectors @ panel.terms.T, 5, out=told[:-1, :-1])
    members = _members(passers)  # (F, J), rows of `told`
    # Nobody fits better than the best tracklet is similar, whatever is denied: most pairs need no more than that.
    present = told[:, : len(panel.queries)]
    best = present[members[:, 0]]
    for column in members.T[1:]:
        np.maximum(best, present[column], out=best)
    fresh, asked = np.nonzero(best >= panel.thresholds)
    if not len(fresh):
        return []
    own = members[fresh]
    similarities = _better_halves(told[own, asked[:, None]])
    things = _better_halves(told[own[:, None, :], panel.denied[asked][:, :, None]])
    fits = panel.curve.fits(similarities, things)
    rows: list[int] = (len(passers) - passers.fresh + fresh).tolist()
    is_asked = panel.is_asked(asked, passers.events[rows], [passers.camera_ids[row] for row in rows])
    found = np.flatnonzero((fits >= panel.thresholds[asked]) & is_asked)
    margins = panel.curve.steepness * (fits - panel.bare[asked])
    confidences = chances(panel.least + margins)
    return [
        _hit(passers, rows[i], panel.queries[asked[i]], float(margins[i]), float(confidences[i]))
        for i in found.tolist()
    ]


class OncePerWindow:
    """Lets one alert for a query, person and camera pass within the window of the query."""

    def __init__(self, raised: Iterable[tuple[Place, float]] = ()) -> None:
        """`raised` are the alerts that there are, and when each was seen."""
        self._seen_at: defaultdict[Place, list[float]] = defaultdict(list)
        for place, at in raised:
            self._seen_at[place].append(at)

    def admits(self, hit: Hit) -> bool:
        """Whether it is the first of its window, and from now on it is. Late tracklets count by when they were seen."""
        seen_at = self._seen_at[hit.place]
        if any(abs(hit.ended_at - at) < hit.query.request.window_s for at in seen_at):
            return False
        seen_at.append(hit.ended_at)
        return True


class DailyBudget:
    """How many alerts of a query may ring within a day; those beyond it are kept, and quiet."""

    def __init__(self, rang: Iterable[tuple[int, float]] = ()) -> None:
        """`rang` are numbers of queries and when somebody was seen."""
        self._rang_at: defaultdict[int, list[float]] = defaultdict(list)
        for number, at in rang:
            self._rang_at[number].append(at)

    def rings(self, hit: Hit) -> bool:
        rang_at = self._rang_at[hit.query.number]
        if sum(abs(hit.ended_at - at) < BUDGET_S for at in rang_at) >= hit.query.request.daily_budget:
            return False
        rang_at.append(hit.ended_at)
        return True


def least_log_odds(curve: TextCalibration, false_alarm_budget: float) -> float:
    """What an alert needs: to be a match of a search, and so sure that at most the budget of such alerts is false.

    Nobody waits behind an alert who would look through weaker candidates, as behind a search.
    """
    sure = max(curve.least, 1.0 - false_alarm_budget)
    return math.log(sure / (1.0 - sure)) if sure < 1.0 else math.inf


def needed_margin(judged: Sequence[Judged], budget: float) -> float:
    """The least margin, from 0, above which at most the share `budget` of the judged alerts was false.

    It lies just above one of the false alarms, and at most `MOST_MARGIN` high.
    """
    steps = sorted({0.0, *(step_above(alarm.margin) for alarm in judged if alarm.is_false)})
    for step in steps:
        above = [alarm.is_false for alarm in judged if alarm.margin >= step]
        if sum(above) <= budget * len(above):
            return min(step, MOST_MARGIN)
    raise AssertionError("nothing lies above the last false alarm")


def step_above(margin: float) -> float:
    """The next thousandth: what lies between two of them is one to the margin of a query."""
    return (math.floor(1000.0 * margin) + 1) / 1000.0


def tightened(margin: float, judged: Sequence[Judged], budget: float) -> float:
    """The margin of a query after a false alarm: as far as its budget needs, but never lower than it was, and by no
    more than `MOST_AT_ONCE` higher."""
    return max(margin, min(needed_margin(judged, budget), margin + MOST_AT_ONCE))


def _members(passers: Passers) -> I64:
    """(F, J) for each fresh tracklet the rows by which its person is judged, newest first; N stands for none. J is no
    larger than somebody needs."""
    count = len(passers)
    members = np.full((passers.fresh, JUDGED_TRACKLETS), count, np.int64)
    newest: defaultdict[int, deque[int]] = defaultdict(lambda: deque(maxlen=JUDGED_TRACKLETS))
    people, started_at, ended_at = passers.global_ids.tolist(), passers.started_at.tolist(), passers.ended_at.tolist()
    for row in range(count):
        own = newest[people[row]]
        own.appendleft(row)
        if (fresh := row - (count - passers.fresh)) >= 0:
            since_at = ended_at[row] - JUDGED_S
            counted = [other for other in own if started_at[other] >= since_at or other == row]
            members[fresh, : len(counted)] = counted
    widest = int((members < count).sum(axis=1).max(initial=1))
    return members[:, :widest]


def _better_halves(similarities: F32) -> F64:
    """(…, J), padded with -inf → (…) the mean of the better half of each row, as in a search; -inf of nothing."""
    descending = -np.sort(-similarities.astype(np.float64), axis=-1)
    counted = better_half(np.isfinite(descending).sum(axis=-1))
    speaks = np.arange(descending.shape[-1]) < counted[..., None]
    means = np.where(speaks, descending, 0.0).sum(axis=-1) / np.maximum(counted, 1)
    return np.where(counted > 0, means, -np.inf)


def _hit(passers: Passers, row: int, query: StandingQuery, margin: float, confidence: float) -> Hit:
    return Hit(
        query=query,
        event=int(passers.events[row]),
        tracklet_id=passers.tracklet_ids[row],
        global_id=GlobalId(int(passers.global_ids[row])),
        camera_id=passers.camera_ids[row],
        started_at=float(passers.started_at[row]),
        ended_at=float(passers.ended_at[row]),
        margin=margin,
        confidence=confidence,
    )

"""Whatever happens to a matcher: two of them see the same site, and one of the two is disturbed all the time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations
from random import Random

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.adapters.bus_rules import BusConfig
from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId, StreamName, TrackletEmbedding, TrackletId
from pipeline.decisions import CorrectionKind, CorrectionRequest
from pipeline.matching.assignment import track_of
from pipeline.matching.evidence import TrackKey
from pipeline.matching.people import MemoryConfig
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from tests.fakes import HandClock, SetModels, embedding, unit_vectors
from tests.pipeline.matching.made_site import CAMERAS, PRIOR, near
from tests.pipeline.matching.one_matcher import calibrated, outcome

WINDOW_S = 10.0
LOOKS = unit_vectors(np.random.default_rng(6), 5)
CONFIG = MatcherConfig(block_s=0.0, memory=MemoryConfig(exemplars=4, exemplars_per_camera=2, recent=3, top_k=4))

# camera, look, start and length within the window, how badly seen, and whether somebody stays beyond the window
arrival = st.tuples(
    st.sampled_from(CAMERAS),
    st.integers(0, len(LOOKS) - 1),
    st.integers(0, 8),
    st.integers(0, 5),
    st.sampled_from([0.05, 0.1, 0.2]),
    st.booleans(),
)
choice = st.integers(0, 10_000)
orders = st.randoms(use_true_random=False)
Comer = tuple[str, int, int, int, float, bool]


class Site:
    """A matcher with its bus and its database."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.bus = MemoryBus(BusConfig(redelivery_count=64, max_deliveries=100), monotonic=self.clock.monotonic)
        self.store = SqlStore.in_memory()
        self.restart()

    def restart(self) -> None:
        models = SetModels(looks=PRIOR)
        self.matcher = MatcherWorker(self.bus, self.store, ExactGallery, self.clock, CONFIG, models)

    def take(self, batch: Sequence[TrackletEmbedding]) -> None:
        self.bus.publish(StreamName.EMBEDDINGS, batch)
        while self.matcher.run_once():
            pass

    def correct(self, request: CorrectionRequest) -> int:
        number = self.store.add_correction(request, self.clock.now())
        self.clock.sleep(5.0)
        self.matcher.run_once()
        return number

    def who(self, names: Sequence[TrackletId]) -> dict[TrackletId, GlobalId]:
        return self.store.assignments(names)


class TwoMatchers(RuleBasedStateMachine):
    """A track that is cut goes on where it was cut."""

    def __init__(self) -> None:
        super().__init__()
        self.calm, self.disturbed = Site(), Site()
        self.rng = np.random.default_rng(1)
        self.window = 0
        self.seen: dict[TrackletId, TrackletEmbedding] = {}
        self.batch: list[TrackletEmbedding] = []  # the last one, if it may come again
        self.staying: list[tuple[TrackletEmbedding, int]] = []  # whoever goes on in the next window, and their looks
        self.excused: set[frozenset[TrackKey]] = set()  # tracks that a correction made one person's
        self.corrections: list[int] = []
        self.opened: list[int] = []

    @initialize(seed=choice)
    def a_morning(self, seed: int) -> None:
        """Enough tracklets to learn from."""
        rng = np.random.default_rng(seed)
        for _ in range(4):
            arrivals = [
                (str(rng.choice(CAMERAS)), look % len(LOOKS), int(rng.integers(9)), 3, 0.1, look % 4 == 0)
                for look in range(7)
            ]
            self._take(self._goes_on() + self._comes(arrivals))
            self.window += 1

    @rule(
        arrivals=st.lists(arrival, min_size=3, max_size=9),
        later=st.tuples(st.integers(0, 3), st.integers(0, 5)),
        order=orders,
        repeated=choice,
    )
    def people_walk(self, arrivals: list[Comer], later: tuple[int, int], order: Random, repeated: int) -> None:
        """Some of those who go on, and of those who come, are sent later than others who were there with them."""
        going, coming = self._goes_on(), self._comes(arrivals)
        self._take(going[later[0] :] + coming[later[1] :], order, repeated)
        self._take(going[: later[0]] + coming[: later[1]], order, repeated)
        self.window += 1

    @rule(is_delivered_again=st.booleans())
    def a_restart(self, is_delivered_again: bool) -> None:
        """Perhaps before the last batch was acknowledged; corrections wait until it is."""
        self.disturbed.restart()
        if is_delivered_again:
            self.disturbed.take(self.batch)

    @precondition(lambda self: len(self.persons()) > 1)
    @rule(kind=st.sampled_from(["merge", "same", "not_same", "split"]), one=choice, other=choice)
    def a_correction(self, kind: str, one: int, other: int) -> None:
        if (request := self._request(CorrectionKind(kind), one, other)) is not None:
            self.corrections.append(self._correct(request))

    @precondition(lambda self: bool(self.corrections))
    @rule(which=choice)
    def an_undo(self, which: int) -> None:
        number = self.corrections.pop(which % len(self.corrections))
        self._correct(CorrectionRequest(CorrectionKind.UNDO, "anna", undoes=number))

    @precondition(lambda self: len(self.persons()) > 1)
    @rule(one=choice, other=choice)
    def a_merge_and_its_undo_restore(self, one: int, other: int) -> None:
        request = self._request(CorrectionKind.MERGE, one, other)
        before = self.calm.who(list(self.seen))
        assert request is not None
        number = self._correct(request)
        merged = self.calm.who(list(self.seen))
        assert len(set(merged.values())) == len(set(before.values())) - 1
        excused = set(self.excused)
        self._correct(CorrectionRequest(CorrectionKind.UNDO, "anna", undoes=number))
        self.excused = excused
        assert self.calm.who(list(self.seen)) == before

    @invariant()
    def both_decide_and_learn_the_same(self) -> None:
        assert outcome(self.calm.store) == outcome(self.disturbed.store)
        assert calibrated(self.calm.store) == calibrated(self.disturbed.store)

    @invariant()
    def a_number_is_never_reused(self) -> None:
        before, self.opened = self.opened, [e.global_id for e in outcome(self.calm.store) if e.is_new]
        since = self.opened[len(before) :]
        assert len(set(since)) == len(since) and all(number > max(before, default=0) for number in since)

    @invariant()
    def nobody_is_twice_in_one_camera_at_once_unless_a_correction_says_so(self) -> None:
        whose = self.calm.who(list(self.seen))
        assert len(whose) == len(self.seen)
        for one, other in self._simultaneous():
            if frozenset((track_of(one), track_of(other))) not in self.excused:
                assert whose[one.tracklet_id] != whose[other.tracklet_id]

    def persons(self) -> list[GlobalId]:
        return sorted(set(self.calm.who(list(self.seen)).values()))

    def _take(self, batch: list[TrackletEmbedding], order: Random | None = None, repeated: int = 0) -> None:
        """Both get a batch: the disturbed one some of it twice, in another order."""
        self.batch = batch
        self.seen |= {piece.tracklet_id: piece for piece in batch}
        self.calm.take(batch)
        mixed = [*batch, *batch[: repeated % (len(batch) + 1)]]
        if order is not None:
            order.shuffle(mixed)
        self.disturbed.take(mixed)

    def _goes_on(self) -> list[TrackletEmbedding]:
        """The next pieces of those who stayed, of whom every other stays again."""
        begins = self.window * WINDOW_S
        staying, self.staying = self.staying, []
        pieces = []
        for place, (before, look) in enumerate(staying):
            stays = place % 2 == 1
            update = {"sequence": before.sequence + 1, "started_at": begins, "ended_at": begins + (9.9 if stays else 4)}
            pieces.append(before.model_copy(update=update))
            if stays:
                self.staying.append((pieces[-1], look))
        return pieces

    def _comes(self, arrivals: list[Comer]) -> list[TrackletEmbedding]:
        begins = self.window * WINDOW_S
        pieces = []
        for place, (camera_id, look, start, length, noise, stays) in enumerate(arrivals):
            ended_at = begins + (9.9 if stays else min(start + length, 9.5))
            vector, track_id = near(LOOKS[look], self.rng, noise), 100 * self.window + place
            piece = embedding(camera_id, track_id, started_at=begins + start, ended_at=ended_at, vector=vector)
            pieces.append(piece)
            if stays:
                self.staying.append((piece, look))
        return pieces

    def _request(self, kind: CorrectionKind, one: int, other: int) -> CorrectionRequest | None:
        """Of some people or tracklets; None where those who are chosen are one."""
        if kind is CorrectionKind.MERGE:
            pairs = list(permutations(self.persons(), 2))
            return CorrectionRequest(kind, "anna", global_ids=pairs[one % len(pairs)])
        names = list(self.seen)
        first, second = names[one % len(names)], names[other % len(names)]
        if kind is CorrectionKind.SPLIT:
            person = self.calm.who([first])[first]
            return CorrectionRequest(kind, "anna", global_ids=(person,), tracklet_ids=(first,))
        return CorrectionRequest(kind, "anna", tracklet_ids=(first, second)) if first != second else None

    def _correct(self, request: CorrectionRequest) -> int:
        self.batch = []
        before = self.calm.who(list(self.seen))
        number = self.calm.correct(request)
        assert self.disturbed.correct(request) == number
        after = self.calm.who(list(self.seen))
        for one, other in combinations(self.seen, 2):
            if after[one] == after[other] and before[one] != before[other]:
                self.excused.add(frozenset((track_of(self.seen[one]), track_of(self.seen[other]))))
        return number

    def _simultaneous(self) -> list[tuple[TrackletEmbedding, TrackletEmbedding]]:
        return [
            (one, other)
            for one, other in combinations(self.seen.values(), 2)
            if one.camera_id == other.camera_id
            and track_of(one) != track_of(other)
            and one.started_at <= other.ended_at
            and other.started_at <= one.ended_at
        ]


TwoMatchers.TestCase.settings = settings(max_examples=10, stateful_step_count=12, deadline=None)
TestTwoMatchers = TwoMatchers.TestCase

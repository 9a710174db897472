"""Asking for people: a sentence, a picture or a known person becomes identities with their routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.contracts import BlobKey, CameraId, GlobalId, Image
from pipeline.errors import InvalidQuery
from pipeline.interfaces import Sighting
from pipeline.search.index import RowSource
from pipeline.search.models import SearchModel
from pipeline.search.query import Candidate, Filters, best_crops, centre, last_seen_first, rank
from pipeline.search.wording import NEUTRAL, direction, is_heard, wording


class UnknownPerson(InvalidQuery):
    """No identity has this number: it never existed, was merged into another, or was erased."""

    def __init__(self, global_id: GlobalId) -> None:
        super().__init__(
            f"there is no person {global_id}",
            "the number of a person that was seen and was neither merged nor erased",
            "search again, or look through the list of people",
        )


class SearchStore(RowSource, Protocol):
    """The part of `Store` that a search reads."""

    def routes(self, global_ids: Sequence[GlobalId]) -> dict[GlobalId, list[Sighting]]: ...


@dataclass(frozen=True, slots=True)
class Person:
    """One identity with where and when it was seen. `confidence` is None where nothing was asked."""

    global_id: GlobalId
    first_seen_at: float
    last_seen_at: float
    route: tuple[Sighting, ...]  # in time order
    crop_keys: tuple[BlobKey, ...]  # best first
    confidence: float | None = None
    is_confident: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found. `people` may be empty though `candidates` were compared: nobody was similar enough."""

    people: tuple[Person, ...]  # most probable first
    candidates: int  # identities inside the filters
    confident: int  # of these, how many are called a match
    unknown_words: tuple[str, ...] = ()


class PeopleSearch:
    """Searches one database. Safe to call from many threads."""

    def __init__(self, store: SearchStore, model: Callable[[], SearchModel], crops: int = 6) -> None:
        """`model` gives the one to compare with; it is asked once for each question.

        `crops` is how many each person is shown with.
        """
        self._store = store
        self._model = model
        self._crops = crops

    def by_text(self, question: str, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        """People who fit a description. `with_weak` also returns, marked, those that are not similar enough."""
        model, asked = self._model(), wording(question)
        present, absent = len(asked.present), len(asked.absent)
        vectors = model.embed_texts((*asked.present, *asked.absent, NEUTRAL))
        query = direction(
            vectors[:present], vectors[present : present + absent], vectors[-1], model.config.absent_weight
        )
        candidates = rank(query, model.language.refresh(), filters, model.config.text)
        unknown_words = tuple(model.unknown_words(question))
        if not is_heard(question, unknown_words):
            # Whoever fits the rest of the question may be somebody else.
            candidates = [replace(candidate, is_confident=False) for candidate in candidates]
        return self._answer(candidates, limit, with_weak, unknown_words)

    def by_image(self, picture: Image, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        """People who look like the one in `picture`, which should show one person and little else."""
        model = self._model()
        candidates = rank(model.embed_picture(picture), model.appearance.refresh(), filters, model.config.appearance)
        return self._answer(candidates, limit, with_weak)

    def by_identity(self, global_id: GlobalId, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        """Other people who look like a known one. Raises `UnknownPerson` for an unknown identity."""
        model = self._model()
        rows = model.appearance.refresh()
        own = rows.of(global_id)
        if len(own) == 0:
            raise UnknownPerson(global_id)
        candidates = rank(centre(rows.vectors[own]), rows, filters, model.config.appearance)
        others = [candidate for candidate in candidates if candidate.global_id != global_id]
        return self._answer(others, limit, with_weak)

    def person(self, global_id: GlobalId) -> Person:
        """One identity with its whole route. Raises `UnknownPerson` for an unknown one."""
        route = self._store.routes([global_id])[global_id]
        if not route:
            raise UnknownPerson(global_id)
        return self._person(global_id, route)

    def recent(self, filters: Filters, limit: int, offset: int = 0) -> tuple[list[Person], int]:
        """Identities inside the filters, last seen first, and how many there are in all."""
        newest = last_seen_first(self._model().language.refresh(), filters)
        routes = self._store.routes(newest[offset : offset + limit])
        return [self._person(global_id, route) for global_id, route in routes.items() if route], len(newest)

    def cameras(self) -> list[CameraId]:
        """Every camera that has shown somebody to the serving model, by name."""
        return sorted(self._model().language.refresh().camera_ids)

    def check_model(self) -> None:
        """Whether the model answers; raises what it raises."""
        self._model().check()

    def _answer(
        self, candidates: list[Candidate], limit: int, with_weak: bool, unknown_words: tuple[str, ...] = ()
    ) -> Answer:
        shown = [c for c in candidates if c.is_confident or with_weak][:limit]
        routes = self._store.routes([candidate.global_id for candidate in shown])
        # A person who was erased or merged since the index was read has no route any more, and is left out.
        people = (self._person(c.global_id, routes[c.global_id], c) for c in shown if routes[c.global_id])
        return Answer(
            people=tuple(people),
            candidates=len(candidates),
            confident=sum(c.is_confident for c in candidates),
            unknown_words=unknown_words,
        )

    def _person(self, global_id: GlobalId, route: Sequence[Sighting], found: Candidate | None = None) -> Person:
        return Person(
            global_id=global_id,
            first_seen_at=min(stay.started_at for stay in route),
            last_seen_at=max(stay.ended_at for stay in route),
            route=tuple(route),
            crop_keys=best_crops(route, found.tracklet_ids if found else (), self._crops),
            confidence=found.confidence if found else None,
            is_confident=found is not None and found.is_confident,
        )

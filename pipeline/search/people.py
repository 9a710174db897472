"""Asking for people: a sentence, a picture or a known person becomes identities with their routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from pipeline.contracts import F32, BlobKey, CameraId, GlobalId, Image
from pipeline.errors import InvalidQuery
from pipeline.interfaces import Sighting
from pipeline.search.index import RowSource
from pipeline.search.models import SearchModel
from pipeline.search.query import Candidate, Filters, Rows, best_crops, centre, last_seen_first, rank


class UnknownPerson(InvalidQuery):
    """No identity has this number: it never existed, or was erased."""

    def __init__(self, global_id: GlobalId) -> None:
        super().__init__(
            f"there is no person {global_id}",
            "the number of a person that was seen and was not erased",
            "search again, or look through the list of people",
        )


class SearchStore(RowSource, Protocol):
    """The part of `Store` that a search reads."""

    def current_identity(self, global_id: GlobalId) -> GlobalId | None: ...

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
class Look:
    """How a person looks to a model: comparable at every site where the same model serves."""

    model_digest: str
    vector: F32  # (A,)


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
        model = self._model()
        asked = model.asked(question)
        candidates = rank(asked.vector, model.language.refresh(), filters, model.config.text)
        if not asked.is_heard:
            # Whoever fits the rest of the question may be somebody else.
            candidates = [replace(candidate, is_confident=False) for candidate in candidates]
        return self._answer(candidates, limit, with_weak, asked.unknown_words)

    def by_image(self, picture: Image, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        """People who look like the one in `picture`, which should show one person and little else."""
        model = self._model()
        candidates = rank(model.embed_picture(picture), model.appearance.refresh(), filters, model.config.appearance)
        return self._answer(candidates, limit, with_weak)

    def by_identity(self, global_id: GlobalId, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        """Other people who look like a known one. Raises `UnknownPerson` for an unknown identity."""
        model, current = self._model(), self._current(global_id)
        rows = model.appearance.refresh()
        candidates = rank(_mean_look(rows, current), rows, filters, model.config.appearance)
        others = [candidate for candidate in candidates if candidate.global_id != current]
        return self._answer(others, limit, with_weak)

    def look(self, global_id: GlobalId) -> Look:
        """How a known person looks, for a question to another site. Raises `UnknownPerson` for an unknown identity."""
        model, current = self._model(), self._current(global_id)
        return Look(model.digest, _mean_look(model.appearance.refresh(), current))

    def by_look(self, look: Look, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        """People who look like a person of another site. Raises `InvalidQuery` for a look of another model.

        They have numbers of their own, and similarity is all that is known: nobody has compared times or ways.
        """
        model = self._model()
        rows = model.appearance.refresh()
        if look.model_digest != model.digest or (len(rows) and len(look.vector) != rows.vectors.shape[1]):
            raise InvalidQuery(
                f"the look is {len(look.vector)} numbers of model {look.model_digest[:64]!r}",
                f"one of model {model.digest!r}, which serves here",
                "let the same model serve at both sites, then ask again",
            )
        return self._answer(rank(look.vector, rows, filters, model.config.appearance), limit, with_weak)

    def person(self, global_id: GlobalId) -> Person:
        """One identity with its whole route; of a merged one the person that it lives on as. Raises `UnknownPerson` for
        an unknown one."""
        current = self._current(global_id)
        route = self._store.routes([current])[current]
        if not route:
            raise UnknownPerson(global_id)
        return self._person(current, route)

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

    def _current(self, global_id: GlobalId) -> GlobalId:
        current = self._store.current_identity(global_id)
        if current is None:
            raise UnknownPerson(global_id)
        return current

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


def _mean_look(rows: Rows, global_id: GlobalId) -> F32:
    own = rows.of(global_id)
    if len(own) == 0:
        raise UnknownPerson(global_id)
    return centre(rows.vectors[own])

"""Asking for people: a sentence, a picture or a known person becomes identities with their routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import numpy as np

from pipeline.contracts import F32, BlobKey, CameraId, GlobalId, Image
from pipeline.errors import InvalidQuery
from pipeline.kept import Sighting
from pipeline.search.feedback import MAX_VERDICTS, Verdict, VerdictSource
from pipeline.search.hearing import hear, hear_all
from pipeline.search.index import RowSource
from pipeline.search.models import SearchModel
from pipeline.search.query import Ask, Candidate, Filters, Ranking, Rows, best_crops, centre, last_seen_first, rank
from pipeline.search.understanding import Chip, understand
from pipeline.search.wording import Wording, describes, wording
from pipeline.together import Together

_AT_ONCE = 2  # goes: while one waits for the database or a product, the other has Python's lock


class UnknownPerson(InvalidQuery):
    """No identity has this number: it never existed, or was erased."""

    def __init__(self, global_id: GlobalId) -> None:
        super().__init__(
            f"there is no person {global_id}",
            "the number of a person that was seen and was not erased",
            "search again, or look through the list of people",
        )


class SearchStore(RowSource, VerdictSource, Protocol):
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
    confident: int  # of the closest of these, how many are called a match
    unknown_words: tuple[str, ...] = ()
    said: tuple[str, ...] = ()  # what the question asks for, thing by thing
    denied: tuple[str, ...] = ()  # what must not be there
    chips: tuple[Chip, ...] = ()  # places and times in the question that were taken for filters


@dataclass(frozen=True, slots=True)
class _Question:
    """A description, worded already: what is wrong with it is told to who asked, before others wait beside it."""

    text: str
    wording: Wording
    filters: Filters
    limit: int
    with_weak: bool


class PeopleSearch:
    """Searches one database. Safe to call from many threads."""

    def __init__(self, store: SearchStore, model: Callable[[], SearchModel], crops: int = 6) -> None:
        """`model` gives the one to compare with; it is asked once for each question.

        `crops` is how many each person is shown with.
        """
        self._store = store
        self._model = model
        self._crops = crops
        self._by_text = Together(self._answer_all, _AT_ONCE)

    def by_text(self, question: str, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        """People who fit a description. `with_weak` also returns, marked, those that are not similar enough."""
        asked = _Question(question, wording(question), filters, limit, with_weak)
        return self._by_text(asked)

    def by_words(
        self,
        question: str,
        filters: Filters,
        cameras: Sequence[CameraId],
        now: datetime,
        limit: int,
        with_weak: bool = False,
    ) -> Answer:
        """As `by_text`, with places and times in the question read as filters. Of a question that says nothing else,
        everybody inside them, last seen first. `now` carries the time zone of the site."""
        understood = understand(question, cameras, now)
        narrowed = understood.narrowed(filters)
        if understood.chips and not describes(understood.description):
            people, count = self.recent(narrowed, limit)
            return Answer(tuple(people), candidates=count, confident=count, chips=understood.chips)
        answer = self.by_text(understood.description if understood.chips else question, narrowed, limit, with_weak)
        return replace(answer, chips=understood.chips)

    def say(
        self,
        question: str,
        global_id: GlobalId,
        is_right: bool,
        made_by: str,
        cameras: Sequence[CameraId],
        now: datetime,
    ) -> int:
        """Note that a person fits a description, or does not, and learn from it; returns how many verdicts count now.

        Raises `UnknownPerson`, and `InvalidQuery` for a person who is not among the closest: nothing was said of her.
        """
        model, current = self._model(), self._current(global_id)
        understood = understand(question, cameras, now)
        text = understood.description if understood.chips else question
        heard = hear(model, text)
        ask = heard.ask(model.words, understood.narrowed(Filters()))
        near = model.language.near(ask)
        found = [c for c in rank(ask, near.rows, near.chosen).candidates if c.global_id == current]
        if not found:
            raise InvalidQuery(
                f"person {current} is not among the closest to this question",
                "a person of its answer, or of the closest to it",
                "ask the question with weak answers, and judge one of them",
            )
        curve = model.config.text.asked(heard.wording.words)
        log_odds = float(curve.log_odds(np.array([found[0].fit]))[0])
        verdict = Verdict(_as_kept(question), current, log_odds, is_right, made_by, now.timestamp())
        self._store.keep_verdict(model.digest, verdict)
        return len(self._store.verdicts(model.digest, MAX_VERDICTS))

    def verdicts_on(self, question: str) -> dict[GlobalId, bool]:
        """Who was said to fit this very question, or not."""
        return self._store.verdicts_on(self._model().digest, _as_kept(question))

    def by_image(self, picture: Image, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        """People who look like the one in `picture`, which should show one person and little else."""
        model = self._model()
        return self._alike(model, model.embed_picture(picture), filters, limit, with_weak)

    def by_identity(self, global_id: GlobalId, filters: Filters, limit: int, with_weak: bool = False) -> Answer:
        """Other people who look like a known one. Raises `UnknownPerson` for an unknown identity."""
        model, current = self._model(), self._current(global_id)
        look = _mean_look(model.appearance.refresh(), current)
        return self._alike(model, look, filters, limit, with_weak, but=current)

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
        return self._alike(model, look.vector, filters, limit, with_weak)

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
        """Every camera that has shown somebody to the serving model before the last question, by name."""
        return sorted(self._model().language.cameras())

    def check_model(self) -> None:
        """Whether the model answers; raises what it raises."""
        self._model().check()

    def _current(self, global_id: GlobalId) -> GlobalId:
        current = self._store.current_identity(global_id)
        if current is None:
            raise UnknownPerson(global_id)
        return current

    def _alike(
        self,
        model: SearchModel,
        look: F32,
        filters: Filters,
        limit: int,
        with_weak: bool,
        but: GlobalId | None = None,
    ) -> Answer:
        ask = Ask.alike(look, filters, model.config.appearance)
        near = model.appearance.near(ask)
        found = rank(ask, near.rows, near.chosen, limit + (but is not None))
        is_among = but is not None and any(candidate.global_id == but for candidate in found.candidates)
        others = [candidate for candidate in found.candidates if candidate.global_id != but][:limit]
        ranking = Ranking(others, found.confident - is_among)
        (answer,) = self._answers([ranking], [near.candidates - is_among], [with_weak])
        return answer

    def _answer_all(self, asked: Sequence[_Question]) -> list[Answer]:
        model = self._model()
        model.listen(self._store)
        heard = hear_all(model, [each.text for each in asked], [each.wording for each in asked])
        asks = [one.ask(model.words, each.filters) for one, each in zip(heard, asked, strict=True)]
        near = model.language.near_all(asks)
        found = [rank(ask, n.rows, n.chosen, each.limit) for ask, n, each in zip(asks, near, asked, strict=True)]
        for place, one in enumerate(heard):
            if not one.is_understood:
                # Whoever fits the rest of the question may be somebody else.
                found[place] = Ranking([replace(c, is_confident=False) for c in found[place].candidates], 0)
        answers = self._answers(found, [n.candidates for n in near], [each.with_weak for each in asked])
        return [
            replace(answer, unknown_words=one.unknown_words, said=one.wording.said, denied=one.wording.denied)
            for answer, one in zip(answers, heard, strict=True)
        ]

    def _answers(self, found: Sequence[Ranking], compared: Sequence[int], with_weak: Sequence[bool]) -> list[Answer]:
        shown = [
            [candidate for candidate in each.candidates if candidate.is_confident or weak]
            for each, weak in zip(found, with_weak, strict=True)
        ]
        named = dict.fromkeys(candidate.global_id for each in shown for candidate in each)
        routes = self._store.routes(list(named)) if named else {}
        answers = []
        for each, candidates, count in zip(found, shown, compared, strict=True):
            # A person who was erased or merged since the index was read has no route any more, and is left out.
            people = (self._person(c.global_id, routes[c.global_id], c) for c in candidates if routes[c.global_id])
            answers.append(Answer(tuple(people), count, each.confident))
        return answers

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


def _as_kept(question: str) -> str:
    return " ".join(question.split())


def _mean_look(rows: Rows, global_id: GlobalId) -> F32:
    own = rows.of(global_id)
    if len(own) == 0:
        raise UnknownPerson(global_id)
    return centre(rows.looks(own))

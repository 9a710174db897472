"""What is asked at the same moment is answered in one go: one pass of a model, a matrix or a transaction serves all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

_MOST = 32  # questions in one go


class Together(Generic[Asked, Answered]):
    """Calls `answer_all` in one thread at a time, with whatever waits by then; nobody waits for company.

    What `answer_all` raises, everybody in that go gets.
    """

    def __init__(self, answer_all: Callable[[Sequence[Asked]], Sequence[Answered]]) -> None:
        self._answer_all = answer_all
        self._at_work = threading.Lock()
        self._door = threading.Lock()
        self._waiting: list[tuple[Asked, Future[Answered]]] = []

    def __call__(self, asked: Asked) -> Answered:
        future: Future[Answered] = Future()
        with self._door:
            self._waiting.append((asked, future))
        with self._at_work:
            while not future.done():
                self._go()
        return future.result()

    def _go(self) -> None:
        with self._door:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        try:
            answers = self._answer_all([asked for asked, _ in batch])
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            future.set_result(answer)

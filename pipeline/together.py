"""What is asked at the same moment is answered in one go: one pass of a model, a matrix or a transaction serves all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")

_MOST = 32  # questions in one go


class _Waiting(Generic[Asked, Answered]):
    """One question, and the thread that waits for its answer."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.answer: Future[Answered] = Future()
        self.is_called = threading.Event()  # it is answered, or its own thread is to answer


class Together(Generic[Asked, Answered]):
    """Calls `answer_all` in `at_once` threads at most, with whatever waits by then; nobody waits for company.

    Who asks answers, for herself and for all who wait, and then calls the first of those who have come meanwhile. What
    `answer_all` raises, everybody in that go gets.
    """

    def __init__(self, answer_all: Callable[[Sequence[Asked]], Sequence[Answered]], at_once: int = 1) -> None:
        self._answer_all = answer_all
        self._at_once = at_once
        self._at_work = 0
        self._door = threading.Lock()
        self._waiting: list[_Waiting[Asked, Answered]] = []

    def __call__(self, asked: Asked) -> Answered:
        own: _Waiting[Asked, Answered] = _Waiting(asked)
        with self._door:
            is_next = self._at_work < self._at_once
            self._at_work += is_next
            if not is_next:
                self._waiting.append(own)
        if not is_next:
            own.is_called.wait()
        if not own.answer.done():
            self._go(own)
        return own.answer.result()

    def _go(self, own: _Waiting[Asked, Answered]) -> None:
        with self._door:
            batch = [own, *self._waiting[: _MOST - 1]]
            del self._waiting[: _MOST - 1]
        try:
            answers = self._answer_all([each.asked for each in batch])
            for each, answer in zip(batch, answers, strict=True):
                each.answer.set_result(answer)
        except BaseException as error:
            for each in batch:
                if not each.answer.done():
                    each.answer.set_exception(error)
        with self._door:
            called = [self._waiting.pop(0)] if self._waiting else []
            self._at_work -= not called
        for each in (*called, *batch):
            each.is_called.set()

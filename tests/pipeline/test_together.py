"""Questions of one moment share one go; each gets its own answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.together import Together


def test_what_waits_is_answered_in_one_go() -> None:
    goes: list[list[int]] = []
    begun, go_on = threading.Event(), threading.Event()

    def square(numbers: Sequence[int]) -> list[int]:
        goes.append(list(numbers))
        begun.set()
        go_on.wait(10)
        return [number * number for number in numbers]

    together = Together(square)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(together, 0)
        begun.wait(10)
        others = [pool.submit(together, number) for number in range(1, 9)]
        while len(together._waiting) < 8:
            time.sleep(0.001)
        go_on.set()
        assert first.result(10) == 0
        assert [other.result(10) for other in others] == [number * number for number in range(1, 9)]
    assert [len(go) for go in goes] == [1, 8]


def test_an_error_reaches_who_asked_and_the_next_question_is_answered() -> None:
    def halve(numbers: Sequence[int]) -> list[float]:
        return [1 / number for number in numbers]

    together = Together(halve)
    with pytest.raises(ZeroDivisionError):
        together(0)
    assert together(2) == 0.5


def test_more_than_fit_into_one_go_are_all_answered() -> None:
    together = Together(lambda numbers: [-number for number in numbers])
    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(together, range(300))) == [-number for number in range(300)]


def test_whoever_is_answered_goes_on_while_the_next_go_is_at_work() -> None:
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def same(numbers: Sequence[int]) -> Sequence[int]:
        begun.release()
        go_on.acquire(timeout=10)
        return numbers

    together = Together(same)

    def wait_for(count: int) -> None:
        while len(together._waiting) < count:
            time.sleep(0.001)

    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(together, 0)
        begun.acquire(timeout=10)
        second = [pool.submit(together, number) for number in (1, 2, 3)]
        wait_for(3)
        go_on.release()
        assert first.result(10) == 0
        begun.acquire(timeout=10)  # the second go
        last = pool.submit(together, 4)
        wait_for(1)
        go_on.release()
        begun.acquire(timeout=10)  # the third, which does not end
        assert [each.result(10) for each in second] == [1, 2, 3]
        assert not last.done()
        go_on.release()
        assert last.result(10) == 4


def test_as_many_goes_as_allowed_are_at_work_at_once() -> None:
    both = threading.Barrier(2)
    at_work, most = 0, 0
    door = threading.Lock()

    def same(numbers: Sequence[int]) -> Sequence[int]:
        nonlocal at_work, most
        with door:
            at_work += 1
            most = max(most, at_work)
        if 0 in numbers or 1 in numbers:
            both.wait(10)
        time.sleep(0.001)
        with door:
            at_work -= 1
        return numbers

    together = Together(same, at_once=2)
    with ThreadPoolExecutor(20) as pool:
        first = [pool.submit(together, number) for number in (0, 1)]
        assert [each.result(10) for each in first] == [0, 1]
        assert list(pool.map(together, range(2, 200))) == list(range(2, 200))
    assert most == 2 and together._at_work == 0

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pipeline import metrics
from pipeline.errors import ConfigurationError, Unavailable
from services.loop import keep_running


def failing_first(stop: threading.Event, *errors: Exception) -> Callable[[], None]:
    """A step that raises `errors` in turn, then works once and asks to stop."""
    left = list(errors)

    def step() -> None:
        if left:
            raise left.pop(0)
        stop.set()

    return step


def counted(error: str) -> float:
    return float(metrics.SERVICE_ERRORS.labels("test", error)._value.get())


def test_the_loop_goes_on_after_trouble_outside_and_after_bugs() -> None:
    before = counted("Unavailable"), counted("ZeroDivisionError")
    stop = threading.Event()
    keep_running(failing_first(stop, Unavailable("away"), ZeroDivisionError("a bug")), stop, "test", 0.001)
    assert (counted("Unavailable"), counted("ZeroDivisionError")) == (before[0] + 1, before[1] + 1)


def test_what_only_the_operator_can_mend_ends_the_loop() -> None:
    stop = threading.Event()
    with pytest.raises(ConfigurationError):
        keep_running(failing_first(stop, ConfigurationError("wrong model")), stop, "test", 0.001)


def test_a_stopped_loop_does_nothing() -> None:
    stop = threading.Event()
    stop.set()
    keep_running(failing_first(stop, ZeroDivisionError()), stop, "test")

"""Models beside one another: those that are there work on, whatever happens to the next."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pipeline.errors import ConfigurationError
from services.model_shelf import RETRY_S, ModelShelf
from tests.fakes import HandClock


class Works:
    """Loads names in capitals, as slowly as the test wants; `broken` cannot be loaded."""

    def __init__(self) -> None:
        self.may_load = threading.Event()
        self.may_load.set()
        self.tried: list[str] = []

    def __call__(self, digest: str) -> str:
        self.tried.append(digest)
        assert self.may_load.wait(10)
        if digest == "broken":
            raise ConfigurationError("torn")
        return digest.upper()


def settled(shelf: ModelShelf[str], ask: Callable[[], None]) -> None:
    """Ask until nothing more is loaded."""
    for _ in range(4):
        ask()
        shelf.close()


def test_a_model_is_loaded_beside_the_one_that_works() -> None:
    works = Works()
    shelf = ModelShelf(works, HandClock(), "test")
    shelf.put("old", "OLD")
    works.may_load.clear()
    shelf.ask_for(["old", "new"])
    assert (shelf.get("old"), shelf.get("new"), shelf.digests()) == ("OLD", None, ("old",))
    works.may_load.set()
    shelf.close()
    assert (shelf.get("new"), shelf.digests()) == ("NEW", ("old", "new"))


def test_what_is_asked_for_no_more_is_let_go_even_while_it_is_loaded() -> None:
    works = Works()
    shelf = ModelShelf(works, HandClock(), "test")
    works.may_load.clear()
    shelf.ask_for(["first"])
    shelf.ask_for(["second"])
    works.may_load.set()
    settled(shelf, lambda: shelf.ask_for(["second"]))
    assert (shelf.get("first"), shelf.get("second")) == (None, "SECOND")
    shelf.ask_for([])
    assert shelf.get("second") is None


def test_a_model_that_cannot_be_loaded_is_tried_again_later_and_holds_up_no_other() -> None:
    works, clock = Works(), HandClock()
    shelf = ModelShelf(works, clock, "test")
    settled(shelf, lambda: shelf.ask_for(["broken", "new"]))
    assert shelf.digests() == ("new",)
    assert works.tried == ["broken", "new"]
    clock.sleep(RETRY_S)
    settled(shelf, lambda: shelf.ask_for(["broken", "new"]))
    assert works.tried == ["broken", "new", "broken"]

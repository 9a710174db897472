"""Questions of one moment are answered in one go, each as if nobody else had asked."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.contracts import CameraId
from pipeline.errors import InvalidQuery
from pipeline.search.models import SearchConfig, SearchModel
from pipeline.search.people import PeopleSearch
from pipeline.search.query import Filters
from tests.small_site import CALIBRATION, WORDS, small_site

GATE = Filters(camera_ids=frozenset({CameraId("gate")}))
QUESTIONS = [
    ("red coat", Filters(), 12, True),
    ("red coat", GATE, 12, True),
    ("a man in a green shirt without a blue coat", Filters(), 12, True),
    ("a man in a green shirt", Filters(), 1, False),
    ("zebra umbrella", Filters(), 12, True),
    ("yellow", Filters(), 12, False),
    ("white", Filters(shortest_s=60.0), 12, True),
]


def test_each_of_many_gets_its_own_answer(tmp_path: Path) -> None:
    site = small_site(folder=tmp_path)
    model = SearchModel(
        site.store, site.encoder, SearchConfig(text=WORDS, appearance=CALIBRATION), site.encoder.unknown_words
    )
    begun, go_on = threading.Event(), threading.Event()
    goes = []

    def slow() -> SearchModel:
        goes.append(len(search._by_text._waiting))
        begun.set()
        assert go_on.wait(10)
        return model

    alone = [site.search.by_text(*question) for question in QUESTIONS]
    assert len({tuple(answer.people) for answer in alone}) > 3
    search = PeopleSearch(site.store, slow)
    with ThreadPoolExecutor(1 + len(QUESTIONS)) as pool:
        first = pool.submit(search.by_text, *QUESTIONS[0])
        begun.wait(10)
        asked = [pool.submit(search.by_text, *QUESTIONS[0])]
        while len(goes) < 2:
            time.sleep(0.001)
        asked += [pool.submit(search.by_text, *question) for question in QUESTIONS[1:]]
        while len(search._by_text._waiting) < len(QUESTIONS) - 1:
            time.sleep(0.001)
        go_on.set()
        assert first.result(10) == alone[0]
        assert [each.result(10) for each in asked] == alone
    # Two that end at once share what has waited.
    assert len(goes) in (3, 4)
    site.store.close()


def test_a_question_that_cannot_be_asked_waits_for_nobody_and_hurts_nobody() -> None:
    site = small_site()
    with pytest.raises(InvalidQuery, match="empty"):
        site.search.by_text("  ", Filters(), 12)
    assert site.search.by_text("red coat", Filters(), 12).people

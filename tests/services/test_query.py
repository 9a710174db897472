"""`sightline query` without an API: the database answers, and mistakes are told before anything slow happens."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.errors import ConfigurationError, InvalidQuery
from reid_models.manifest import DEFAULT_BUNDLE, read_manifest
from services.console import print_query
from services.query import QueryAnswer, query_words, run_query, search_config
from services.settings import Settings, load
from tests.small_site import NOW, SmallSite, small_site


@pytest.fixture
def site() -> SmallSite:
    return small_site()


def asked(site: SmallSite, sentence: str, **options: Any) -> QueryAnswer:
    usual: dict[str, Any] = {
        "cameras": (),
        "known_cameras": (),
        "since": None,
        "until": None,
        "limit": 10,
        "with_weak": False,
        "now": datetime.fromtimestamp(NOW, UTC),
        "location": lambda key: f"/blobs/{key}",
    }
    return run_query(site.search, sentence, **usual | options)


def test_an_answer_names_people_with_route_and_crops(site: SmallSite) -> None:
    answer = asked(site, "red coat", since="90m")
    assert (answer.is_match, answer.candidates, len(answer.people)) == (True, 3, 1)
    person = answer.people[0]
    assert person.global_id == 1 and [stop.camera_id for stop in person.route] == ["lobby", "yard"]
    assert (person.first_seen_at, person.last_seen_at) == (NOW - 7200.0, NOW - 3592.0)
    assert all(path.startswith("/blobs/") for path in person.crops)
    assert QueryAnswer.model_validate_json(answer.model_dump_json()) == answer


def test_weak_candidates_come_on_request(site: SmallSite) -> None:
    assert asked(site, "white coat").people == []
    answer = asked(site, "white coat", with_weak=True, limit=2)
    assert not answer.is_match and len(answer.people) == 2


def test_a_question_of_places_and_times_prints_who_was_there_and_what_was_understood(site: SmallSite) -> None:
    answer = asked(site, "anybody in the yard")
    assert [(person.global_id, person.confidence) for person in answer.people] == [(2, None), (1, None)]
    console = Console(record=True, width=200, file=io.StringIO())
    print_query(answer, console)
    printed = console.export_text()
    assert "Filtered by “in the yard”." in printed and "(weak)" not in printed and "%" not in printed


def test_an_unknown_camera_is_told_with_the_known_ones(site: SmallSite) -> None:
    with pytest.raises(InvalidQuery, match="one of cellar, gate, lobby, yard"):
        asked(site, "red", cameras=["attic"], known_cameras=["cellar"])
    assert asked(site, "red", cameras=["cellar"], known_cameras=["cellar"]).candidates == 0


def test_asking_does_not_create_a_database(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "mistyped")
    with pytest.raises(ConfigurationError, match="sightline up"):
        query_words(settings, "red coat")
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.parametrize("is_old", [True, False])
def test_the_share_of_false_answers_moves_the_least_probability_alone(is_old: bool) -> None:
    measured = read_manifest(DEFAULT_BUNDLE).calibration
    assert measured is not None and measured.words is not None
    if is_old:
        measured = measured.model_copy(update={"words": measured.words.model_copy(update={"leasts": ()})})
    strict, usual, lax = (search_config(measured, share).text for share in (0.01, 0.05, 0.3))
    assert strict.least > usual.least == measured.words.least > lax.least
    assert replace(strict, least=lax.least) == lax


@pytest.mark.parametrize("share", [0.0, 0.6, "much"])
def test_a_share_of_false_answers_out_of_reach_is_refused(share: object) -> None:
    with pytest.raises(ConfigurationError, match="false_answers"):
        load(None, {"search": {"false_answers": share}})


def test_a_model_that_was_never_calibrated_claims_no_match() -> None:
    config = search_config(None, 0.5)
    assert config.text.least > 1.0 and config.appearance.threshold > 1.0

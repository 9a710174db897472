"""Whatever the API's own description allows to be asked, and what it does not, is answered without an error inside."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable

from services.api.app import create_app
from tests.small_site import api_dependencies, small_site

schemathesis = pytest.importorskip("schemathesis", reason="pip install 'sightline[dev]'")

ADMITTED = {"Authorization": "Bearer of-the-settings"}


@pytest.mark.parametrize(("mode", "examples", "least_operations"), [("positive", 6, 20), ("negative", 4, 10)])
def test_nothing_that_can_be_asked_is_an_error_inside(
    tmp_path: Path, mode: str, examples: int, least_operations: int
) -> None:
    site = small_site(folder=tmp_path)
    app = create_app(dataclasses.replace(api_dependencies(site), host="0.0.0.0", token="of-the-settings"))
    app.state.alert_feed.close()  # which would go on for an hour
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=ADMITTED)
    quick = settings(
        max_examples=examples, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    asked: set[str] = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        cases = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))

        @seed(7)
        @quick
        @given(case=cases)
        def ask(case: schemathesis.Case) -> None:
            response = case.call(headers=ADMITTED)
            # 503 would tell that something outside is away; nothing is here.
            assert response.status_code < 500, f"{case.as_curl_command()}\n{response.text}"
            asked.add(f"{case.method} {case.path}")

        try:
            ask()
        except Unsatisfiable:
            assert mode == "negative", "only what takes nothing cannot be asked wrongly"
    site.store.close()
    assert len(asked) >= least_operations

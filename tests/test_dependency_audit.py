"""The audit of dependencies never calls safe what nobody looked up."""

from __future__ import annotations

from typing import Any

import pytest

from tests import dependency_audit
from tests.dependency_audit import main, verdict

SAFE = {"name": "safe", "version": "1.0", "vulns": []}
UNSEEN = {"name": "unseen", "skip_reason": "Dependency not found on PyPI and could not be audited: unseen (1.0)"}
FLAWED = {"name": "flawed", "version": "1.0", "vulns": [{"id": "CVE-2026-1", "fix_versions": ["1.1"]}]}


@pytest.mark.parametrize(
    ("packages", "words", "is_skipped", "is_bad"),
    [
        ([SAFE] * 10, "10 of 10 packages looked up, none", False, False),
        ([SAFE] * 9 + [UNSEEN], "9 of 10 packages looked up, none", False, False),
        ([SAFE] * 8 + [UNSEEN] * 2, "SKIPPED, a service answered for only 8 of 10", True, False),
        ([UNSEEN] * 3, "SKIPPED, a service answered for only 0 of 3", True, False),
        ([], "SKIPPED", True, False),
        ([UNSEEN] * 9 + [FLAWED], "flawed 1.0: CVE-2026-1, repaired in 1.1", False, True),
    ],
)
def test_a_report_is_told_as_it_is(packages: list[dict[str, Any]], words: str, is_skipped: bool, is_bad: bool) -> None:
    told = verdict({"dependencies": packages})
    assert words in told[0] and told[1:] == (is_skipped, is_bad)


@pytest.mark.parametrize(("required", "code"), [("", 0), ("require", 1)])
def test_a_skipped_audit_fails_only_where_it_is_required(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], required: str, code: int
) -> None:
    monkeypatch.setenv("SIGHTLINE_AUDIT", required)
    monkeypatch.setattr(dependency_audit, "_COMMAND", ("false",))
    assert main() == code
    assert "SKIPPED" in capsys.readouterr().out

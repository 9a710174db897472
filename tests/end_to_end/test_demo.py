"""The demo as a newcomer starts it, from the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.processes import DEMO, processes_below

pytestmark = pytest.mark.slow


@pytest.mark.timeout(240)
def test_the_demo_ends_by_itself_and_compares_with_the_truth(tmp_path: Path) -> None:
    summary_file = tmp_path / "summary.json"
    data = tmp_path / "data"
    done = subprocess.run(
        [*DEMO, "--duration", "30", "--json", str(summary_file), "--data-dir", str(data)],
        capture_output=True,
        text=True,
        timeout=220,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(summary_file.read_text())
    assert summary["tracklets"] > 0
    assert summary["people_seen"] > 0
    assert summary["queries"] > 0
    assert summary["failures"] == {}
    # Far below what it reaches: half a minute with a warming-up detector differs from run to run.
    assert summary["tracking_idf1"] > 0.5
    assert summary["cross_camera_idf1"] > 0.35
    assert summary["query_precision_at_1"] > 0.4
    assert "Compared with the truth" in done.stdout
    assert processes_below(data) == []

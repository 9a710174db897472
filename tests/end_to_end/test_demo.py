"""The demo as a newcomer starts it, from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "services.cli", "demo"]


def processes_below(folder: Path) -> list[str]:
    """Command lines of living processes that name `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in command:
                found.append(command)
    return found


@pytest.mark.timeout(240)
def test_the_demo_ends_by_itself_and_compares_with_the_truth(tmp_path: Path) -> None:
    summary_file = tmp_path / "summary.json"
    data = tmp_path / "data"
    done = subprocess.run(
        [*COMMAND, "--duration", "30", "--json", str(summary_file), "--data-dir", str(data)],
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


@pytest.mark.timeout(240)
def test_ctrl_c_stops_everything_in_order(tmp_path: Path) -> None:
    data = tmp_path / "data"
    demo = subprocess.Popen(
        [*COMMAND, "--data-dir", str(data)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        deadline = time.monotonic() + 150
        while len(list((data / "run").glob("*.ready"))) < 5 and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(3)
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=90)
    finally:
        demo.kill()
    assert demo.returncode == 0, output
    assert processes_below(data) == []

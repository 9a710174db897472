"""Ctrl-C at the demo, as a newcomer ends it."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.processes import DEMO, processes_below

pytestmark = pytest.mark.slow


@pytest.mark.timeout(240)
def test_ctrl_c_stops_everything_in_order(tmp_path: Path) -> None:
    data = tmp_path / "data"
    demo = subprocess.Popen(
        [*DEMO, "--data-dir", str(data)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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

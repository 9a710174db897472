"""How the server starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_it_starts_without_torch() -> None:
    code = "import sys, services.api.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 0

"""`make bench [ONLY=tracker]`: every benchmark in a process of its own, tables on the terminal, JSON in bench-results/.

Ratios within one run are the result; absolute times depend on the machine and on its neighbours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipeline.runtimes.machine import MALLOC

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "bench-results"


def main(only: list[str]) -> int:
    """Run the benchmarks whose name contains one of `only` (all without it); the number that failed."""
    RESULTS.mkdir(exist_ok=True)
    failed = 0
    for path in sorted(HERE.glob("bench_*.py")):
        name = path.stem.removeprefix("bench_")
        if only and not any(word in name for word in only):
            continue
        # Two inference runtimes in one process rob each other of the cores, hence one process each.
        result = str(RESULTS / f"{name}.json")
        code = f"from pathlib import Path; from tests.bench.{path.stem} import main; main(Path({result!r}))"
        environment = {**os.environ, **MALLOC}  # as `sightline up` starts its services
        done = subprocess.run([sys.executable, "-c", code], cwd=HERE.parents[1], env=environment, check=False)
        failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

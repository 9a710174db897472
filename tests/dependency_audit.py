"""`python -m tests.dependency_audit`: whether any installed package is known to be vulnerable; part of `make check`.

pip-audit asks a service for every package. Where none answers, it says that no vulnerability is known, though nothing
was looked up; so this counts what was. With `SIGHTLINE_AUDIT=require` a skipped audit is a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

_COMMAND = (sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable")
_LONGEST_S = 300.0
_LEAST_SHARE = 0.9  # of the packages; builds for one machine are on no public index


def main() -> int:
    """Prints what was found; the exit code."""
    words, is_skipped, is_bad = verdict(_report())
    sys.stdout.write(f"dependency audit: {words}\n")
    return int(is_bad or (is_skipped and os.environ.get("SIGHTLINE_AUDIT") == "require"))


def verdict(report: Mapping[str, Any] | None) -> tuple[str, bool, bool]:
    """What a report of pip-audit means, in words; whether too little was looked up; whether something is vulnerable."""
    if report is None:
        return "SKIPPED, pip-audit gave no report", True, False
    packages = report["dependencies"]
    checked = [package for package in packages if "vulns" in package]
    known = [
        f"{package['name']} {package['version']}: {flaw['id']}, repaired in {', '.join(flaw['fix_versions']) or 'none'}"
        for package in checked
        for flaw in package["vulns"]
    ]
    if known:
        return "\n  ".join((f"{len(known)} known vulnerabilities", *known)), False, True
    if len(checked) < max(_LEAST_SHARE * len(packages), 1):
        return f"SKIPPED, a service answered for only {len(checked)} of {len(packages)} packages", True, False
    return f"{len(checked)} of {len(packages)} packages looked up, none is known to be vulnerable", False, False


def _report() -> dict[str, Any] | None:
    try:
        done = subprocess.run(_COMMAND, capture_output=True, text=True, timeout=_LONGEST_S, check=False)
        report: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return report


if __name__ == "__main__":
    sys.exit(main())

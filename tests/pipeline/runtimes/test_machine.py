from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtimes.machine import CACHE_VARIABLE, cache_folder, fingerprint, processor_precisions


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512_bf16 avx512_vnni", {"fp32", "bf16", "int8"}),
        ("amx_bf16 amx_int8 avx512_fp16", {"fp32", "bf16", "int8", "fp16"}),
        ("avx2 avx512f", {"fp32"}),
    ],
)
def test_a_processor_multiplies_in_what_its_flags_name(tmp_path: Path, flags: str, expected: set[str]) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: amx_tile\n")
    assert processor_precisions(tmp_path / "cpuinfo") == expected


def test_a_system_without_that_file_multiplies_in_float32(tmp_path: Path) -> None:
    assert processor_precisions(tmp_path / "missing") == {"fp32"}


def test_the_fingerprint_changes_with_the_circumstances_and_with_nothing_else() -> None:
    assert fingerprint(threads=1) == fingerprint(threads=1) != fingerprint(threads=2)


def test_the_cache_lies_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "sightline"

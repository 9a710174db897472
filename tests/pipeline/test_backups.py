"""When a backup is due and which have to go, as rules of values."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.backups import (
    Backup,
    BackupFile,
    BackupsKept,
    Counts,
    Manifest,
    doomed,
    folder_name,
    is_due,
    made_at_of,
)
from pipeline.forgetting import DAY_S

NOW = 1_780_000_000.0
NOTHING = Counts(people=0, tracklets=0, crops=0, missing_crops=0, models=0)


def backup(days_ago: float, erasures_to: int = 0, erasures_open: tuple[int, ...] = (), is_whole: bool = True) -> Backup:
    made_at = NOW - days_ago * DAY_S
    manifest = Manifest(
        site="main",
        made_at=made_at,
        database="sqlite",
        schema_revision="0010",
        counts=NOTHING,
        erasures_to=erasures_to,
        erasures_open=erasures_open,
        files=(),
    )
    return Backup(Path(folder_name(made_at)), made_at, manifest if is_whole else None)


backups = st.lists(
    st.builds(
        backup,
        st.floats(0.0, 200.0),
        st.integers(0, 4),
        st.lists(st.integers(1, 4), max_size=2).map(tuple),
        st.booleans(),
    ),
    max_size=6,
).map(lambda found: sorted({each.made_at: each for each in found}.values(), key=lambda each: -each.made_at))
erasures = st.sets(st.integers(1, 5), max_size=3)


def days_of(found: list[Backup]) -> list[int]:
    return [round((NOW - each.made_at) / DAY_S) for each in found]


def test_one_is_due_when_there_is_none_or_the_newest_is_old_enough() -> None:
    assert is_due([], [], NOW, DAY_S) and is_due([backup(0.1, is_whole=False)], [], NOW, DAY_S)
    assert is_due([backup(1.0)], [], NOW, DAY_S) and not is_due([backup(0.9), backup(3.0)], [], NOW, DAY_S)


def test_a_clock_that_was_wrong_once_keeps_no_backup_from_being_made() -> None:
    assert is_due([backup(-3000.0), backup(1.0)], [], NOW, DAY_S)
    assert days_of(doomed([backup(-3000.0), backup(9.0)], [], NOW, 7 * DAY_S, 90 * DAY_S)) == [-3000]


def test_one_is_due_at_once_when_the_newest_may_hold_somebody_who_was_erased() -> None:
    assert is_due([backup(0.1, erasures_to=6)], [7], NOW, DAY_S)
    assert is_due([backup(0.1, erasures_to=7, erasures_open=(7,))], [7], NOW, DAY_S)
    assert not is_due([backup(0.1, erasures_to=7)], [7], NOW, DAY_S)


def test_what_may_hold_an_erased_person_goes_when_there_is_one_that_does_not_and_no_sooner() -> None:
    before = [backup(1.0, erasures_to=6), backup(2.0, erasures_to=7, erasures_open=(7,))]
    assert doomed(before, [7], NOW, 7 * DAY_S, None) == []
    assert doomed([backup(0.0, erasures_to=7), *before], [7], NOW, 7 * DAY_S, None) == before


def test_the_newest_whole_one_outlives_its_time_until_all_in_it_is_beyond_its_own() -> None:
    old = [backup(0.5, is_whole=False), backup(9.0), backup(10.0)]
    assert days_of(doomed(old, [], NOW, 7 * DAY_S, 90 * DAY_S)) == [0, 10]
    assert days_of(doomed([backup(91.0)], [], NOW, 7 * DAY_S, 90 * DAY_S)) == [91]
    assert doomed([backup(910.0)], [], NOW, 7 * DAY_S, None) == []


@given(backups, erasures, st.floats(0.1, 30.0))
def test_beyond_the_time_at_most_one_is_left_and_no_one_may_hold_the_erased_beside_one_that_does_not(
    found: list[Backup], erased: set[int], keep_days: float
) -> None:
    going = doomed(found, erased, NOW, keep_days * DAY_S, None)
    left = [each for each in found if each not in going]
    assert sum(NOW - each.made_at > keep_days * DAY_S for each in left) <= 1
    assert len({each.may_hold_any(erased) for each in left}) <= 1
    # The last one that can be put back is never given away.
    assert any(each.manifest for each in left) or not any(each.manifest for each in found)


def test_a_name_tells_when_and_nothing_else_is_a_name() -> None:
    assert made_at_of(folder_name(NOW)) == NOW
    assert [made_at_of(name) for name in ("erasures.json", ".unfinished-20260528T202640Z", "20269928T202640Z")] == [
        None,
        None,
        None,
    ]


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../../key", "crops/../../key", "a\\b", "a\nb"])
def test_no_file_of_a_backup_lies_outside_of_it(path: str) -> None:
    with pytest.raises(ValidationError):
        BackupFile(path=path, size_bytes=1, sha256="0" * 64)


def test_it_is_late_when_there_was_time_for_the_next_one() -> None:
    kept = BackupsKept(1, NOW, NOW, keep_days=7.0, every_hours=24.0)
    assert not kept.is_late(NOW + 1.4 * DAY_S) and kept.is_late(NOW + 1.6 * DAY_S)

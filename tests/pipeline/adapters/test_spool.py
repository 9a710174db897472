"""The queue on disk, torn and damaged in every way."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipeline.adapters import spool as spool_module
from pipeline.adapters.spool import Spool, read_records, write_record
from pipeline.errors import ConfigurationError, Unavailable

OpenSpool = Callable[..., Spool]

payloads = st.lists(st.binary(max_size=40), max_size=12)


@pytest.fixture
def open_spool(tmp_path: Path) -> Iterator[OpenSpool]:
    """A spool in the test's folder, closed at its end."""
    with ExitStack() as opened:

        def open_one(max_bytes: int = 10_000) -> Spool:
            return opened.enter_context(closing(Spool(tmp_path, max_bytes)))

        yield open_one


def take_all(spool: Spool) -> list[bytes]:
    taken = []
    while some := spool.peek(3):
        taken += some
        spool.take(len(some))
    return taken


@given(payloads)
def test_records_come_back_as_they_were_written(written: list[bytes]) -> None:
    records = read_records(b"".join(map(write_record, written)))
    assert (records.payloads, records.damaged_bytes) == (written, 0)


@given(payloads, st.data())
def test_a_torn_tail_costs_only_the_record_it_tore(written: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(write_record, written))
    cut = data.draw(st.integers(0, len(whole)))
    records = read_records(whole[:cut])
    assert records.payloads == written[: len(records.payloads)]
    assert sum(len(write_record(each)) for each in written[: len(records.payloads) + 1]) > cut or records.payloads == (
        written
    )
    assert records.damaged_bytes == 0


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=12), st.data())
def test_a_damaged_record_costs_only_itself(written: list[bytes], data: st.DataObject) -> None:
    victim = data.draw(st.integers(0, len(written) - 1))
    parts = [bytearray(write_record(each)) for each in written]
    place = data.draw(st.integers(0, len(parts[victim]) - 1))
    parts[victim][place] ^= 0xFF
    records = read_records(b"".join(parts))
    assert records.payloads == written[:victim] + written[victim + 1 :]
    assert (records.damaged_bytes > 0) == (victim < len(written) - 1)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    read_records(data)


class SpoolMachine(RuleBasedStateMachine):
    """Appends, takes and restarts in any order: everything comes in order, and only restarts repeat."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.spool = Spool(self.folder, max_bytes=1000, segment_bytes=60)
        self.waiting: list[bytes] = []
        self.taken_since_start: list[bytes] = []

    @rule(some=st.lists(st.binary(max_size=30), max_size=4))
    def append(self, some: list[bytes]) -> None:
        self.spool.append(some)
        self.waiting += some

    @rule(count=st.integers(1, 5))
    def take(self, count: int) -> None:
        some = self.spool.peek(count)
        assert some == self.waiting[: len(some)]
        assert bool(some) == bool(self.waiting)
        if some:
            self.spool.take(len(some))
            self.taken_since_start += some
            del self.waiting[: len(some)]

    @rule(torn=st.binary(max_size=20))
    def crash_and_start_again(self, torn: bytes) -> None:
        self.spool.close()
        segments = sorted(self.folder.glob("*.spool"))
        if segments:
            with segments[-1].open("ab") as file:
                file.write(torn)
        self.spool = Spool(self.folder, max_bytes=1000, segment_bytes=60)
        everything = [
            each for path in sorted(self.folder.glob("*.spool")) for each in read_records(path.read_bytes()).payloads
        ]
        repeated = everything[: len(everything) - len(self.waiting)]
        assert everything[len(repeated) :] == self.waiting
        assert repeated == self.taken_since_start[len(self.taken_since_start) - len(repeated) :]
        self.waiting = everything
        self.taken_since_start = []

    @invariant()
    def its_size_is_that_of_its_files(self) -> None:
        assert self.spool.size_bytes == sum(path.stat().st_size for path in self.folder.glob("*.spool"))

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.folder)


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_an_emptied_spool_leaves_no_segment(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    spool.append([b"a", b"b"])
    assert take_all(spool) == [b"a", b"b"]
    assert (spool.size_bytes, list(tmp_path.glob("*.spool"))) == (0, [])


def test_it_is_full_at_its_budget_and_still_keeps_what_comes(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool(100)
    assert not spool.is_full
    spool.append([bytes(100)])
    assert spool.is_full
    spool.append([b"late"])
    assert take_all(spool) == [bytes(100), b"late"]


def test_a_damaged_segment_is_kept_beside_the_queue(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    spool.append([b"first", b"second", b"third"])
    spool.close()
    (path,) = tmp_path.glob("*.spool")
    data = bytearray(path.read_bytes())
    data[len(write_record(b"first")) + 13] ^= 1
    path.write_bytes(data)
    again = open_spool()
    assert take_all(again) == [b"first", b"third"]
    assert [each.suffix for each in tmp_path.iterdir() if each.suffix != ".lock"] == [".damaged"]


def test_a_disk_that_refuses_leaves_the_queue_as_it_was(open_spool: OpenSpool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = open_spool()
    spool.append([b"before"])
    real_fsync = os.fsync

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(spool_module.os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        spool.append([b"refused"])
    monkeypatch.setattr(spool_module.os, "fsync", real_fsync)
    spool.append([b"after"])
    assert take_all(spool) == [b"before", b"after"]


@pytest.mark.parametrize("step", ["read_bytes", "unlink"])
def test_a_disk_that_fails_while_records_are_taken_costs_and_repeats_none(
    open_spool: OpenSpool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    spool = open_spool()
    spool.append([b"a"])
    with monkeypatch.context() as broken:
        broken.setattr(Path, step, refuse)
        with pytest.raises(Unavailable, match=r"Input/output error.*check this disk"):
            take_all(spool)
        with pytest.raises(Unavailable):
            spool.peek(1)
    spool.append([b"b"])
    assert take_all(spool) == ([b"a", b"b"] if step == "read_bytes" else [b"b"])
    assert list(tmp_path.glob("*.spool")) == []


def refuse(_path: Path, **_options: bool) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_a_segment_kept_for_inspection_is_never_overwritten(open_spool: OpenSpool, tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        spool = open_spool()
        spool.append([content])
        spool.peek(1)
        spool.keep_segment()
        spool.take(1)
        spool.close()
    kept = sorted(tmp_path.glob("*.damaged"))
    assert [read_records(path.read_bytes()).payloads for path in kept] == [[b"first"], [b"second"]]


def test_a_folder_belongs_to_one_process_at_a_time(open_spool: OpenSpool, tmp_path: Path) -> None:
    spool = open_spool()
    with pytest.raises(ConfigurationError, match=f"process {os.getpid()} already holds"):
        open_spool()
    spool.close()
    open_spool()


def test_what_another_spool_left_is_taken_over_in_order_and_its_folder_goes(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "gone", 10_000, segment_bytes=20)) as gone:
        for number in range(12):
            gone.append([b"%d" % number])
    with closing(Spool(tmp_path / "own", 10_000)) as spool:
        spool.append([b"own"])
        spool.adopt(tmp_path / "gone")
        spool.append([b"new"])
        assert spool.size_bytes == sum(path.stat().st_size for path in (tmp_path / "own").glob("*.spool"))
        assert take_all(spool) == [b"own", *(b"%d" % number for number in range(12)), b"new"]
    assert not (tmp_path / "gone").exists()


def test_a_spool_that_a_living_worker_holds_is_not_taken_over(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "held", 10_000)) as held, closing(Spool(tmp_path / "own", 10_000)) as spool:
        held.append([b"mine"])
        spool.adopt(tmp_path / "held")
        assert (take_all(spool), take_all(held)) == ([], [b"mine"])


def test_a_spool_with_damaged_segments_keeps_its_folder_with_these(tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "gone", 10_000)) as gone:
        gone.append([b"waits"])
    (tmp_path / "gone" / "000000000009.damaged").write_bytes(b"look at me")
    with closing(Spool(tmp_path / "own", 10_000)) as spool:
        spool.adopt(tmp_path / "gone")
        assert take_all(spool) == [b"waits"]
    assert (tmp_path / "gone" / "000000000009.damaged").read_bytes() == b"look at me"


WRITER = """
import sys
from pathlib import Path
from pipeline.adapters.spool import Spool
spool = Spool(Path(sys.argv[1]), 10**9, segment_bytes=5000)
number = 0
while True:
    spool.append([b"%d:" % number + bytes(500)])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
"""


def test_what_append_returned_for_survives_kill_9(open_spool: OpenSpool, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(40):
            writer.stdout.readline()
        writer.kill()
        confirmed = 40 + len(writer.stdout.read().splitlines())
    found = [int(each.split(b":")[0]) for each in take_all(open_spool())]
    assert found[:confirmed] == list(range(confirmed))
    assert len(found) <= confirmed + 1

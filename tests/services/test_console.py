"""What is printed holds what was meant, whatever brackets stand in it."""

from __future__ import annotations

import io

from rich.console import Console

from pipeline.contracts import StreamName
from pipeline.interfaces import DeadLetter
from services.console import print_dead_letters


def test_a_reason_with_brackets_is_printed_as_it_is() -> None:
    output = io.StringIO()
    reason = "[/tmp/x] is no crop [type=bytes]"
    letter = DeadLetter("1-0", StreamName.CROPS, "embedder", reason, 0.0, {})
    print_dead_letters([letter], Console(file=output, width=200))
    assert reason in output.getvalue()

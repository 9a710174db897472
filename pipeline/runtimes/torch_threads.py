"""How many threads torch computes on, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Compute on so many threads within.

    What takes microseconds gains nothing by more than one: threads wait for one another, and burn processor time while
    they do. Beside busy neighbours the sentences of one question cost 20 to 40 ms on two threads, and 4 on one.
    """
    usual = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(usual)

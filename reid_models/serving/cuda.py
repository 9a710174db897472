"""What only CUDA needs: copies that overlap with computing, and a pass recorded once and replayed.

Not run on hardware in the project's own checks, which have no GPU; the trial refuses it wherever its vectors differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pipeline.runtimes.runtime import Batch

_WARM_UP = 3  # passes before the recording: libraries allocate and choose their kernels in the first ones


class CudaFeed:
    """Batches on the device, each copied on a stream of its own while the one before it is computed."""

    def __init__(self, rows_per_pass: int) -> None:
        self._rows_per_pass = rows_per_pass
        self._copies = torch.cuda.Stream()
        self._pinned: list[Tensor | None] = [None, None]  # taken in turns
        self._copied = [torch.cuda.Event(), torch.cuda.Event()]

    def rows(self, batch: Batch) -> Iterator[Tensor]:
        """`batch` in parts of `rows_per_pass`; each is on its way before the caller computes the one before."""
        starts = range(0, len(batch), self._rows_per_pass)
        parts = (batch[start : start + self._rows_per_pass] for start in starts)
        sent: Tensor | None = None
        for number, part in enumerate(parts):
            following = self._send(part, number % 2)
            if sent is not None:
                yield self._arrived(sent, (number - 1) % 2)
            sent = following
        if sent is not None:
            yield self._arrived(sent, (len(starts) - 1) % 2)

    def _send(self, part: Batch, turn: int) -> Tensor:
        pinned = self._pinned[turn]
        if pinned is None or pinned.shape[1:] != part.shape[1:]:
            shape = (self._rows_per_pass, *part.shape[1:])
            pinned = self._pinned[turn] = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        else:
            self._copied[turn].synchronize()  # the copy before the last still reads this memory
        pinned[: len(part)].numpy()[...] = part
        with torch.cuda.stream(self._copies):
            sent = pinned[: len(part)].to("cuda", non_blocking=True)
            self._copied[turn].record(self._copies)
        return sent

    def _arrived(self, sent: Tensor, turn: int) -> Tensor:
        computing = torch.cuda.current_stream()
        computing.wait_event(self._copied[turn])
        sent.record_stream(computing)  # else the allocator could give its memory away while it is still read
        return sent


class RecordedPass:
    """One pass of a fixed shape as a CUDA graph: the host launches it as a whole instead of kernel by kernel."""

    def __init__(self, compute: Callable[[Tensor], tuple[Tensor, Tensor]], shape: tuple[int, ...]) -> None:
        self._input = torch.zeros(shape, dtype=torch.uint8, device="cuda")
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside), torch.inference_mode():
            for _ in range(_WARM_UP):
                compute(self._input)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self._graph):
            self._outputs = compute(self._input)

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self._input.copy_(pixels)
        self._graph.replay()
        appearance, language = self._outputs
        return appearance.clone(), language.clone()  # the next replay writes over the outputs

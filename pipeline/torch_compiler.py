"""Leaves torch's compiler unloaded until something is compiled.

torchvision and timm name it while they are imported: the one asks whether it supports a device, the other marks
functions that it shall leave alone. Either loads `torch._dynamo` with SymPy and much of torch.distributed, a third of
the time in which a process that compiles nothing becomes able to load a model.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_ASKED = "torch._dynamo.utils"


@contextmanager
def compiler_put_off() -> Iterator[None]:
    """What is imported in this block loads the compiler when it calls for it, not when it names it."""
    import torch
    from torch._compile import _disable_dynamo  # torch's own way to mark its functions

    if "torch._dynamo" in sys.modules:
        yield
        return

    def marked(fn: Any = None, recursive: bool = True, **_: Any) -> Any:
        return _disable_dynamo(fn, recursive)

    stand_in, disable = ModuleType(_ASKED), torch.compiler.disable
    stand_in.__dict__["is_compile_supported"] = _is_compile_supported
    sys.modules[_ASKED] = stand_in
    torch.compiler.disable = marked
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(_ASKED) is stand_in:
            del sys.modules[_ASKED]


def _is_compile_supported(device_type: str) -> bool:
    from torch._dynamo.utils import is_compile_supported

    return bool(is_compile_supported(device_type))

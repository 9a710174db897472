"""Models load without torch's compiler, which is there when it is asked for."""

from __future__ import annotations

import subprocess
import sys

LOADED = "import sys; import reid_models.bundle; assert 'torch._dynamo' not in sys.modules; "


def said(program: str) -> str:
    """By a process of its own, where nothing else has loaded the compiler."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_is_asked_later_compiles_and_leaves_alone_what_is_kept_from_it() -> None:
    asked = (
        "import torch; from torchvision.ops import roi_align; "
        "from timm.models.naflexvit import NaFlexRopeIterator; "
        "kept = [each for each in vars(NaFlexRopeIterator).values() if hasattr(each, '__wrapped__')]; "
        "later = roi_align.__globals__['is_compile_supported']('cpu'), callable(kept[0]); "
        "from torch._dynamo.utils import is_compile_supported; "
        "graphs = []; "
        "double = torch.compile(lambda x: 2 * x, backend=lambda graph, _: graphs.append(graph) or graph.forward); "
        "print(later == (is_compile_supported('cpu'), True), double(torch.ones(1)).item(), len(graphs))"
    )
    assert said(LOADED + asked) == "True 2.0 1"


def test_functions_marked_meanwhile_are_called_and_never_compiled() -> None:
    marked = (
        "import torch; from pipeline.torch_compiler import compiler_put_off\n"
        "with compiler_put_off():\n"
        "    kept = torch.compiler.disable(lambda x: x + torch.compiler.is_compiling())\n"
        "assert 'torch._dynamo' not in sys.modules and torch.compiler.disable.__module__ == 'torch.compiler'\n"
        "compiled = torch.compile(lambda x: 2 * kept(x), backend='eager')\n"
        "print(kept(1), compiled(torch.ones(1)).item())"
    )
    assert said(LOADED + marked) == "1 2.0"

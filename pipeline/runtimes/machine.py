"""What of this machine decides about the speed of a network, and the folder that keeps what was measured on it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from functools import cache
from pathlib import Path

from pipeline.runtimes.runtime import Precision

CACHE_VARIABLE = "SIGHTLINE_CACHE"

# Read by the C library at the start of a process only: keeping large activations mapped makes an encoder up to 1.4
# times as fast on CPUs. Whoever starts a process that runs networks puts them into its environment.
MALLOC = {
    "MALLOC_TOP_PAD_": "268435456",
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "20000000000",
}

_CPU_INFO = Path("/proc/cpuinfo")
_CUDA_DEVICES = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")
_PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "onnx")
_FLAGS: dict[Precision, frozenset[str]] = {
    "bf16": frozenset({"amx_bf16", "avx512_bf16"}),
    "fp16": frozenset({"amx_fp16", "avx512_fp16"}),
    "int8": frozenset({"amx_int8", "avx512_vnni", "avx_vnni"}),
}


def cache_folder() -> Path:
    """`$SIGHTLINE_CACHE`, else `sightline` in the user's cache. All of it may be deleted: it is made again."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline"


@cache
def processor_precisions(cpu_info: Path = _CPU_INFO) -> frozenset[Precision]:
    """What the processor multiplies in by itself; anything else it would emulate, slowly. float32 always."""
    flags = _field(cpu_info, "flags").split()
    found: set[Precision] = {precision for precision, names in _FLAGS.items() if not names.isdisjoint(flags)}
    return frozenset(found | {"fp32"})


def usable_cores() -> int:
    """The cores that this process may use: a container or `taskset` may leave it fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_cuda() -> bool:
    """Whether torch can use a CUDA device. Torch is not loaded where the system shows no such device."""
    if not any(Path(place).exists() for place in _CUDA_DEVICES):
        return False
    import torch

    return torch.cuda.is_available()


def fingerprint(**circumstances: object) -> str:
    """16 hexadecimal digits of the processor, its cores, the installed runtimes, and `circumstances` (plain values)."""
    description = {
        "processor": _field(_CPU_INFO, "model name") or platform.processor() or platform.machine(),
        "flags": _field(_CPU_INFO, "flags"),
        "cores": usable_cores(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        **circumstances,
    }
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def _field(cpu_info: Path, name: str) -> str:
    """The first value of a field; empty where the system has no such file or no such field."""
    try:
        lines = cpu_info.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == name), "")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

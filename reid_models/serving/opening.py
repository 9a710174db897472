"""A bundle opened on a chosen runtime."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.contracts import F32
from pipeline.errors import ConfigurationError
from pipeline.runtimes.networks import NETWORKS, open_network
from pipeline.runtimes.runtime import RuntimeOptions
from pipeline.runtimes.trial import Candidate
from reid_models.manifest import read_manifest
from reid_models.serving.artefacts import Artefacts, artefacts_of
from reid_models.serving.encoder import LARGEST_BATCH, ServedEncoder
from reid_models.serving.quantising import quantise_if_missing

_PASSES_PER_CALL = 4  # on CUDA, so that the copy of one overlaps with computing another


def open_served(bundle: Path, candidate: Candidate, options: RuntimeOptions) -> ServedEncoder:
    """The encoder of a bundle folder on the candidate's runtime, in its precision whatever `options` say of it.

    A network file is exported first where there is none. Raises `ConfigurationError` with the remedy.
    """
    chosen = RuntimeOptions(candidate.precision, options.device, options.threads, options.full_batch)
    crops_per_call = (options.full_batch or LARGEST_BATCH) * (_PASSES_PER_CALL if options.device == "cuda" else 1)
    manifest = read_manifest(bundle)

    def open_texts() -> Callable[[Sequence[str]], F32]:
        import torch

        from reid_models.bundle import load_bundle
        from reid_models.serving.torch_runtime import TextTower

        return TextTower(load_bundle(bundle), torch.device(options.device))

    if candidate.runtime in NETWORKS:
        files = artefacts_of(bundle, manifest)
        network = files.network_in(candidate.precision)  # raises where there can be none
        export_if_missing(bundle, files)
        if candidate.precision == "int8":
            quantise_if_missing(files)
        runtime = open_network(candidate.runtime, network, chosen)
        return ServedEncoder(manifest, runtime, open_texts, crops_per_call)

    import torch

    from reid_models.bundle import load_bundle
    from reid_models.serving.torch_runtime import TorchRuntime

    torch.set_num_threads(options.threads)
    images = TorchRuntime(load_bundle(bundle), chosen, candidate.runtime)
    return ServedEncoder(manifest, images, open_texts, crops_per_call)


def export_if_missing(bundle: Path, files: Artefacts) -> None:
    """Make the network file, in a process of its own: that loads torch, which must not stay beside another runtime.

    Raises `ConfigurationError` for a bundle that cannot be exported.
    """
    if files.network.is_file():
        return
    command = [sys.executable, "-m", "reid_models.serving.exporting", str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ConfigurationError(f"{bundle} cannot be exported ({reason}); serve it with runtime torch")

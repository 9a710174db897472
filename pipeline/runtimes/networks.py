"""Which runtime opens a network file: one dictionary."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.errors import ConfigurationError
from pipeline.runtimes.onnx_runtime import OnnxRuntime
from pipeline.runtimes.openvino_runtime import OpenVinoRuntime
from pipeline.runtimes.runtime import Runtime, RuntimeName, RuntimeOptions

log = logging.getLogger(__name__)

NETWORKS: Mapping[str, Callable[[Path, RuntimeOptions], Runtime]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVinoRuntime,
}


def open_network(runtime: RuntimeName, network: Path, options: RuntimeOptions) -> Runtime:
    """The network of an ONNX file, loaded. Raises `ConfigurationError` with the remedy."""
    if runtime not in NETWORKS:
        raise ConfigurationError(
            f"the runtime {runtime!r} does not open network files; known are {', '.join(NETWORKS)}"
        )
    if not network.is_file():
        raise ConfigurationError(f"there is no model file {network}; expected an .onnx file: check the path")
    try:
        opened = NETWORKS[runtime](network, options)
    except ConfigurationError:
        raise
    except ImportError as error:
        raise ConfigurationError(
            f"the runtime {runtime!r} is not installed ({error}); install it with `pip install 'sightline[{runtime}]'`"
        ) from error
    except Exception as error:  # the runtimes raise classes of their own that share no parent
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ConfigurationError(f"{network} cannot be read by {runtime} ({reason}); expected ONNX form") from error
    log.info("opened %s with %s, %s, on %d threads", network.name, runtime, options.precision, options.threads)
    return opened


def package_of(runtime: RuntimeName) -> str:
    """The Python package behind a runtime."""
    return runtime if runtime in NETWORKS else "torch"


def is_installed(runtime: RuntimeName) -> bool:
    """Whether the package behind a runtime is there, without importing it."""
    return importlib.util.find_spec(package_of(runtime)) is not None

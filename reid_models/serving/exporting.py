"""A bundle's image tower as an ONNX file that takes raw pixels.

`python -m reid_models.serving.exporting BUNDLE` makes it in the cache.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch

from reid_models.bundle import Bundle, load_bundle
from reid_models.serving.artefacts import OUTPUTS, PIXELS, Artefacts, artefacts_of, made_whole
from reid_models.serving.torch_runtime import ImageTower

_OPSET = 17
_TRACED_CROPS = 2  # one would be taken for a constant


def exported(bundle: Bundle, artefacts: Artefacts) -> Path:
    """The ONNX file of the image tower, made if it is not there yet."""
    path = artefacts.network
    return path if path.is_file() else made_whole(path, lambda place: export(bundle, place))


def export(bundle: Bundle, path: Path) -> None:
    """Write the image tower in float32: pixels (N, H, W, 3) uint8 in, unit vectors (N, A) and (N, L) out, N open."""
    size = bundle.manifest.input
    tower = ImageTower(bundle.encoder, size).eval()
    pixels = torch.zeros((_TRACED_CROPS, size.height_px, size.width_px, 3), dtype=torch.uint8)
    with warnings.catch_warnings():
        # The exporter by tracing is deprecated, but the one that follows it needs onnxscript and is slower by far;
        # torch is pinned below the release that could drop it.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            tower,
            (pixels,),
            str(path),
            input_names=[PIXELS],
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "crops"} for name in (PIXELS, *OUTPUTS)},
            opset_version=_OPSET,
            dynamo=False,
        )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    exported(load_bundle(folder), artefacts_of(folder))

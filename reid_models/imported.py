"""Models that others trained, in open_clip's forms, as a bundle in memory.

- `ViT-B-16/openai`: an architecture and a tag that open_clip knows; downloaded on first use.
- `ViT-B-16//models/weights.pt`: an architecture and a local checkpoint (`.pt` or `.safetensors`).
- `hf-hub:organisation/model`: from the Hugging Face hub; downloaded on first use.

Checkpoints are read without executing code in them (`weights_only`). Such a model has no calibration: measure it with
`sightline evaluate` before trusting a threshold.
"""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.errors import ConfigurationError
from pipeline.torchvision_cpu import install
from reid_models.bundle import Bundle, model_digest, stored_weights
from reid_models.clip_towers import image_size_of
from reid_models.encoder import PersonEncoder, PersonOptions, sub_word_tokenizer, with_options
from reid_models.manifest import InputFormat, Manifest, Training

install()

import open_clip  # noqa: E402  (torchvision must be importable first)

HUB = "hf-hub:"
DEFAULT_OPTIONS = PersonOptions()


def import_open_clip(source: str) -> Bundle:
    """Raises `ConfigurationError` for an unknown name, an unreadable file, or a download that fails."""
    return _as_bundle(source, *load_open_clip(source))


def pretrained_encoder(source: str, options: PersonOptions = DEFAULT_OPTIONS) -> PersonEncoder:
    """The towers that `source` names in float32, changed as `options` say: where training begins. Raises as above.

    Every word of the architecture is kept, so what is trained from here can be stored as a bundle.
    """
    architecture, clip = load_open_clip(source)
    return PersonEncoder(with_options(architecture, options), clip)


def load_open_clip(source: str) -> tuple[dict[str, Any], nn.Module]:
    """Architecture and float32 weights. Raises as `import_open_clip`."""
    architecture_name, tag = _split(source)
    # A tag knows the activation it was trained with; open_clip only warns when the architecture has the other.
    is_quick = tag is not None and bool(open_clip.get_pretrained_cfg(architecture_name, tag).get("quick_gelu"))
    try:
        clip = open_clip.create_model(
            architecture_name, pretrained=tag, precision="fp32", force_quick_gelu=is_quick, force_custom_text=True,
            require_pretrained=True, weights_only=True,
        )  # fmt: skip
    except pickle.UnpicklingError as error:
        raise ConfigurationError(
            f"{source}: the checkpoint holds more than weights, which is refused because it could run code ({error}); "
            "save its state_dict as .safetensors"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:  # what open_clip and the hub raise for files and downloads
        raise ConfigurationError(_remedy(source, tag, error)) from error
    architecture: dict[str, Any] = dict(open_clip.get_model_config(architecture_name) or {})
    architecture.pop("custom_text", None)
    return (architecture | {"quick_gelu": True} if is_quick else architecture), clip


def _split(source: str) -> tuple[str, str | None]:
    """Architecture and tag or file. A hub name is both in one."""
    if source.startswith(HUB):
        return source, None
    architecture_name, _, tag = source.partition("/")
    if architecture_name not in open_clip.list_models():
        raise ConfigurationError(
            f"{source!r} is neither a bundle folder, nor a shipped bundle, nor an open_clip model; expected a folder "
            "with manifest.json, 'sightline-small', 'ViT-B-16/openai', 'ViT-B-16//path/to/weights.pt' or "
            "'hf-hub:owner/model'"
        )
    if not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture_name)) or "none"
        raise ConfigurationError(
            f"{source!r} names an architecture without weights; add '/TAG' or '/PATH' (tags known to open_clip: {tags})"
        )
    return architecture_name, tag


def _remedy(source: str, tag: str | None, error: Exception) -> str:
    if tag is not None and Path(tag).is_file():
        return f"{source}: the checkpoint {tag} cannot be read ({error}); is it of this architecture, and complete?"
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"{source} must be downloaded, and that failed ({reason}); connect this machine to the network once, or copy "
        "the checkpoint here and name it as ARCHITECTURE/PATH, or use the shipped bundle 'sightline-small'"
    )


def _as_bundle(source: str, architecture: dict[str, Any], clip: Any) -> Bundle:
    encoder = PersonEncoder(architecture, clip).eval()
    preprocess = clip.visual.preprocess_cfg
    height_px, width_px = image_size_of(clip.visual)
    input_format = InputFormat(
        height_px=height_px, width_px=width_px, mean=tuple(preprocess["mean"]), std=tuple(preprocess["std"])
    )
    manifest = Manifest(
        digest=model_digest(stored_weights(encoder), architecture, input_format, None),
        name=source,
        created=datetime.now(UTC).date().isoformat(),
        architecture=architecture,
        input=input_format,
        appearance_width=encoder.appearance_width,
        language_width=encoder.language_width,
        vocabulary=None,
        training=Training(description=f"not by Sightline: {source}", data_digest="unknown"),
        metrics={},
        calibration=None,
        licence="see the model's publisher",
    )
    return Bundle(manifest, encoder, sub_word_tokenizer(encoder.context_length))

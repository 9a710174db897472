"""Models that others trained, in open_clip's forms, as a bundle in memory.

- `ViT-B-16/openai`: an architecture and a tag that open_clip knows; downloaded on first use.
- `ViT-B-16//models/weights.pt`: an architecture and a local checkpoint (`.pt` or `.safetensors`).
- `hf-hub:organisation/model`: from the Hugging Face hub; downloaded on first use.
- `local-dir:/models/folder`: the same from a folder that was copied from there, with its `open_clip_config.json`.

Both vectors of a person come from the image tower: the appearance vector is its pooled feature, the language vector the
projected one, and no head is trained. Checkpoints are read without executing code in them (`weights_only`). Such a
model has no calibration: measure it with `sightline evaluate` before trusting a threshold.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import nn

from pipeline.errors import ConfigurationError
from pipeline.torchvision_cpu import install
from reid_models.bundle import Bundle, model_digest, stored_weights
from reid_models.clip_towers import image_size_of
from reid_models.encoder import PersonEncoder, PersonOptions, resized_for, sub_word_tokenizer, with_options
from reid_models.manifest import InputFormat, Manifest, Training

install()

import open_clip  # noqa: E402  (torchvision must be importable first)

HUB, FOLDER = "hf-hub:", "local-dir:"
UNKNOWN_LICENCE = "unknown; see the model's publisher"
DEFAULT_OPTIONS = PersonOptions()


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a manifest cannot find out by itself."""

    name: str | None = None  # default: from the source, without its folders
    image_size: tuple[int, int] | None = None  # (height, width) in pixels; positions are resized; default: the tower's
    licence: str = UNKNOWN_LICENCE


def import_open_clip(source: str, options: ImportOptions = ImportOptions()) -> Bundle:
    """Raises `ConfigurationError` for an unknown name, an unreadable file, a download that fails, or a model whose
    sentences or pictures Sightline cannot read."""
    architecture, clip = load_open_clip(source)
    if options.image_size is not None:
        architecture = resized_for(architecture, options.image_size)
    return _as_bundle(source, architecture, clip, options)


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
    except Exception as error:  # open_clip, torch, safetensors and the hub raise classes of their own for bad files
        if isinstance(error, pickle.UnpicklingError) or "TorchScript" in str(error):
            raise ConfigurationError(
                f"{source}: the checkpoint holds more than weights, which is refused because it could run code "
                f"({_reason(error)}); save its state_dict as .safetensors where you trust it"
            ) from error
        raise ConfigurationError(_remedy(source, tag, error)) from error
    architecture: dict[str, Any] = dict(open_clip.get_model_config(architecture_name) or {})
    architecture.pop("custom_text", None)
    _check_tokenizer(source, architecture)
    return (architecture | {"quick_gelu": True} if is_quick else architecture), clip


def _split(source: str) -> tuple[str, str | None]:
    """Architecture and tag or file. A hub name is both in one."""
    if source.startswith((HUB, FOLDER)):
        return source, None
    if Path(source).is_file():
        raise ConfigurationError(
            f"{source} is a checkpoint, which does not say its architecture; expected ARCHITECTURE/PATH: "
            f"put it before, as ViT-B-16/{source} (OpenAI's own weights: ViT-B-16-quickgelu/{source})"
        )
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
        return (
            f"{source}: the checkpoint {tag} cannot be read ({_reason(error)}); expected all weights of this "
            "architecture: name the one that it was trained with, or copy the file again"
        )
    if source.startswith(FOLDER):
        return (
            f"{source} cannot be read ({_reason(error)}); expected a folder with open_clip_config.json and "
            "open_clip_model.safetensors: copy the whole folder from the hub"
        )
    return (
        f"{source} must be downloaded, and that failed ({_reason(error)}); connect this machine to the network once, "
        "or copy the checkpoint here and name it as ARCHITECTURE/PATH, or use the shipped bundle 'sightline-small'"
    )


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__)[:400]


def _check_tokenizer(source: str, architecture: Mapping[str, Any]) -> None:
    """A bundle's words are read by CLIP's own tokenizer; ids of another one would mean other words."""
    text = architecture.get("text_cfg", {})
    found = text.get("hf_tokenizer_name") or text.get("hf_model_name") or text.get("tokenizer_kwargs")
    if found:
        raise ConfigurationError(
            f"{source} reads words by {found}; expected CLIP's own tokenizer, the only one that a bundle can hold: "
            "choose a model without `hf_tokenizer_name` in its configuration, as ViT-B-16/openai"
        )


def _name(source: str) -> str:
    """`ViT-B-16/openai` stays; of a path only the file's name is kept."""
    if source.startswith((HUB, FOLDER)):
        return Path(source.partition(":")[2]).name
    architecture_name, _, tag = source.partition("/")
    return f"{architecture_name}/{Path(tag).stem}"


def _as_bundle(source: str, architecture: dict[str, Any], clip: Any, options: ImportOptions) -> Bundle:
    name = options.name or _name(source)
    encoder = PersonEncoder(architecture, clip).eval()
    preprocess = clip.visual.preprocess_cfg
    height_px, width_px = image_size_of(clip.visual)
    input_format = InputFormat(
        height_px=height_px, width_px=width_px, mean=tuple(preprocess["mean"]), std=tuple(preprocess["std"])
    )
    manifest = Manifest(
        digest=model_digest(stored_weights(encoder), architecture, input_format, None),
        name=name,
        created=datetime.now(UTC).date().isoformat(),
        architecture=architecture,
        input=input_format,
        appearance_width=encoder.appearance_width,
        language_width=encoder.language_width,
        vocabulary=None,
        training=Training(description=f"by others, not by Sightline: {_name(source)}", data_digest="unknown"),
        metrics={},
        calibration=None,
        licence=options.licence,
    )
    return Bundle(manifest, encoder, sub_word_tokenizer(encoder.context_length))

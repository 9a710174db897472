"""CCAFL: camera-agnostic features from labels that hold within one camera (Tan, Gong, Xiang 2025, TCSVT 35(5)).

Stages, in the paper's order:

1. `prompts`: tokens for each (camera, person), against resting image features, camera by camera (section on
   intra-camera prompt learning);
2. `intra`: intra-camera discriminative learning (ICDL) with a hybrid memory for each camera, text alignment, triplets;
3. `inter`: classes of different cameras are associated anew each epoch, and learnt as one pseudo-identity with a memory
   of hardest samples, text alignment, a triplet, and the adversarial loss (ICAL) in its window of epochs.

A classifier of all (camera, person) classes learns beside the encoder in every epoch; ICAL plays against it.

The equations follow the authors' released code where the paper's text was not at hand. Deviations:

- memories and the classifier learn after the encoder's step instead of inside its backward pass: same values;
- one backward pass serves encoder and classifier, whose gradients do not meet (each sees the other detached), so ICAL
  plays against the classifier of the previous step;
- every epoch draws its batches anew (the authors' iterator runs on over epochs);
- no GradScaler: bfloat16 needs none;
- the smoothing of the text loss follows the present number of clusters (a fixed 4821 classes in the authors' code);
- the best epoch is never chosen on test data;
- `warm_up_epochs` (0 as published) of stage 2 without text come first for towers without pretrained weights, whose
  features a prompt could not describe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import I64
from reid_models.datasets.training_sets import IntraCameraSet
from reid_models.distributed import gathered
from reid_models.encoder import PersonEncoder
from reid_models.extraction import extract
from reid_models.loader import LoaderConfig
from reid_models.losses.adversarial import AdversarialConfig, adversarial_loss, class_loss
from reid_models.losses.metric import batch_hard_triplet_loss, identity_loss, memory_triplet_loss
from reid_models.losses.prototypes import icdl_loss, memory_loss
from reid_models.memory import CentroidMemory, HybridMemory, UpdateRule, class_means
from reid_models.prompt_stage import (
    ClassTexts,
    PromptSamples,
    PromptStage,
    PromptStageConfig,
    class_texts,
    prompt_optimiser,
)
from reid_models.prompts import Tokenize
from reid_models.pseudo_labels import associate_cameras
from reid_models.samplers import identity_draws
from reid_models.schedules import Optimisation, OptimiserConfig, Schedule
from reid_models.trainer import Figures, Losses, Method, Stage
from reid_models.transforms import AugmentConfig

MARGIN = 0.3  # of both triplets, on unit features


@dataclass(frozen=True, slots=True)
class CcaflConfig:
    """Defaults are the published Market-1501 settings. Epochs of the windows count from the start of stage 2."""

    loader: LoaderConfig
    identities_per_batch: int = 16
    images_per_identity: int = 8
    batches_per_epoch: int = 200
    warm_up_epochs: int = 0
    prompt_epochs: int = 60  # 0: no prompts, and no text terms
    intra_epochs: int = 5
    inter_epochs: int = 75
    temperature: float = 0.05
    momentum: float = 0.1  # weight of the old prototype
    inter_update: UpdateRule = "hard"  # which features of a batch move the prototypes of stage 3
    instance_slots: int = 32
    centroid_share: float = 0.6  # lambda: 1 is the centroid term alone
    pairs_per_class: float = 1.7  # r: how many pairs of classes are looked at
    text_from_epoch: int = 10
    adversarial_epochs: tuple[int, int] | None = (40, 50)  # from, to (exclusive); None: never
    adversarial: AdversarialConfig = field(default_factory=lambda: AdversarialConfig(margin=0.7))
    is_associated: bool = True  # False: every (camera, person) remains an identity of its own
    is_camera_centred: bool = False  # association compares features less the mean of their camera
    is_exclusive: bool = False  # a pseudo-identity has at most one class of each camera: no chains
    encoder: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(
            3.5e-4, 5e-4, bias_rate_factor=2.0,
            schedule=Schedule(10, 0.01, milestones=(40, 50), whole_epochs=True),
        )
    )  # fmt: skip
    prompts: OptimiserConfig = field(default_factory=lambda: prompt_optimiser(60))
    classifier: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(3.5e-4, 5e-4))
    device: str = "cpu"
    precision: str = "bfloat16"


SIZE = (256, 128)  # height, width
PUBLISHED_CHANGES = AugmentConfig(
    pad_share=10 / SIZE[0], pad_value=0.0, jitter_strength=0.0, blur_probability=0.0, erase_area=(0.02, 0.4),
    erase_fill="mean",
)  # fmt: skip
MARKET1501 = CcaflConfig(LoaderConfig(((0, SIZE),), PUBLISHED_CHANGES))
DUKEMTMC = replace(
    MARKET1501, pairs_per_class=1.5, text_from_epoch=40, adversarial_epochs=(40, 60),
    adversarial=AdversarialConfig(margin=0.3),
)  # fmt: skip
MSMT17 = replace(
    DUKEMTMC, identities_per_batch=32, centroid_share=0.0, pairs_per_class=1.3,
    adversarial=AdversarialConfig(margin=0.5),
)  # fmt: skip


class CcaflModel(nn.Module):
    """The encoder, the prompts, and the classifier of (camera, person) classes, whose rows are compared by cosine."""

    def __init__(self, encoder: PersonEncoder, classes: int, texts: ClassTexts | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.prompts = None if texts is None else texts.learner
        self.classifier = nn.Linear(encoder.appearance_width, classes, bias=False)
        nn.init.xavier_uniform_(self.classifier.weight)

    def appearance(self, images: Tensor) -> Tensor:
        """Unit features (B, P), with which everything but the text is compared."""
        return functional.normalize(self.encoder(images).appearance.float(), dim=1)


def ccafl(
    encoder: PersonEncoder, tokenize: Tokenize, data: IntraCameraSet, config: CcaflConfig, seed: int = 0
) -> Method:
    """The method over one encoder, whose text tower rests; `seed` draws prompts and classifier.

    Raises `ConfigurationError` for a data set of one camera, in which nothing can be associated.
    """
    cameras, class_count = len(np.unique(data.cameras)), len(data.class_cameras())
    if config.is_associated and cameras < 2:
        raise ConfigurationError(
            f"the data set has {cameras} camera; CCAFL links people across cameras and needs at least two"
        )
    encoder.clip.text.requires_grad_(False)
    torch.manual_seed(seed)
    texts = class_texts(encoder, tokenize, class_count, seed=seed) if config.prompt_epochs else None
    model = CcaflModel(encoder, class_count, texts)
    image_side = (encoder.clip.visual, encoder.pooling, encoder.neck)
    optimisers = {
        "encoder": Optimisation(config.encoder, [part for part in image_side if part is not None]),
        "classifier": Optimisation(config.classifier, [model.classifier]),
    }
    stages: list[Stage] = []
    if config.warm_up_epochs:
        stages.append(IntraCameraStage("warm_up", config.warm_up_epochs, model, data, config, None))
    if texts is not None:
        optimisers["prompts"] = Optimisation(config.prompts, [texts.learner])
        samples = PromptSamples(data.images, data.intra_camera_identities, data.cameras)
        size = config.loader.size_at(0)
        prompt_config = PromptStageConfig(config.prompt_epochs, size, device=config.device, precision=config.precision)
        stages.append(PromptStage("prompts", ("prompts",), texts, samples, prompt_config))
    if config.intra_epochs:
        stages.append(IntraCameraStage("intra", config.intra_epochs, model, data, config, texts))
    if config.inter_epochs:
        stages.append(InterCameraStage(model, data, config, texts))
    return Method(model, optimisers, stages)


class CcaflStage(Stage):
    """What both image stages share: P×K batches over (camera, person) classes, and the classifier's lesson."""

    optimisers = ("encoder", "classifier")

    def __init__(
        self, name: str, epochs: int, model: CcaflModel, data: IntraCameraSet, config: CcaflConfig,
        texts: ClassTexts | None,
    ) -> None:  # fmt: skip
        self.name, self.epochs = name, epochs
        self.model, self.data, self.config, self.texts = model, data, config, texts
        self.images, self.loader = data.images, config.loader
        self.classes = data.intra_camera_identities  # (N,)
        self.class_cameras = data.class_cameras()  # (G,)

    def begin(self) -> None:
        # (G, L): prompts and text tower rest from here on.
        self.class_texts = None if self.texts is None else self.texts.features().to(self.config.device)

    def draw(self, rng: np.random.Generator) -> Sequence[I64]:
        config = self.config
        return list(
            identity_draws(
                self.classes, config.identities_per_batch, config.images_per_identity, config.batches_per_epoch, rng
            )
        )

    def features(self, epoch: int) -> Tensor:
        """Unit features of all images (N, P)."""
        config = self.config
        size = config.loader.size_at(epoch)
        return extract(self.model, self.model.appearance, self.data.images, size, config.device, config.precision)

    def means_of_classes(self, features: Tensor) -> Tensor:
        """Unit means (G, P) of features (N, P) by (camera, person)."""
        return class_means(features, torch.from_numpy(self.classes).to(features.device), len(self.class_cameras))

    def features_of(self, images: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, P) unit appearance and (B, L) projected features of the whole batch, as float32."""
        assert images is not None
        features = self.model.encoder(images)
        appearance = functional.normalize(gathered(features.appearance).float(), dim=1)
        return appearance, gathered(features.language).float()

    def classifier_loss(self, appearance: Tensor, indices: I64) -> Tensor:
        """L_GID: which (camera, person) it is. The encoder does not learn from it."""
        labels = torch.from_numpy(self.classes[indices]).to(appearance.device)
        return class_loss(appearance.detach(), self.model.classifier.weight, labels)


class IntraCameraStage(CcaflStage):
    """Every camera for itself: a hybrid memory of its people, its own texts, triplets within it."""

    def begin(self) -> None:
        super().begin()
        self._seen_by_camera: list[tuple[int, Tensor, Tensor]] = []

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        config = self.config
        features = self.features(epoch)
        means = self.means_of_classes(features)
        self.memories: dict[int, HybridMemory] = {}
        self.members: dict[int, I64] = {}  # the classes of a camera
        for camera in np.unique(self.class_cameras).tolist():
            members = np.flatnonzero(self.class_cameras == camera)
            slots = draw_slots(self.classes, members, config.instance_slots, rng)
            self.members[camera] = members
            self.memories[camera] = HybridMemory(means[members], features[slots], config.momentum)
        return self.draw(rng)

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        appearance, projected = self.features_of(images)
        with torch.autocast(appearance.device.type, enabled=False):
            classifier = self.classifier_loss(appearance, indices)
            return {"classifier": classifier, **self.intra_losses(appearance, projected, indices)}

    def intra_losses(self, appearance: Tensor, projected: Tensor, indices: I64) -> dict[str, Tensor]:
        """Each camera's terms on its part of the batch, summed over the cameras."""
        parts: dict[str, Tensor] = {}
        cameras = self.data.cameras[indices]
        for camera in np.unique(cameras).tolist():
            rows = torch.from_numpy(np.flatnonzero(cameras == camera)).to(appearance.device)
            places = np.searchsorted(self.members[camera], self.classes[indices][cameras == camera])
            labels = torch.from_numpy(places).to(appearance.device)
            for name, loss in self.camera_losses(camera, appearance[rows], projected[rows], labels).items():
                parts[name] = parts.get(name, torch.zeros((), device=loss.device)) + loss
            self._seen_by_camera.append((camera, appearance[rows].detach(), labels))
        return parts

    def camera_losses(self, camera: int, appearance: Tensor, projected: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`labels` count within the camera."""
        memory, config = self.memories[camera], self.config
        parts = {
            "icdl": icdl_loss(
                appearance, labels, memory.centroids, memory.slots, config.centroid_share, config.temperature
            ),
            "triplet_memory": memory_triplet_loss(appearance, labels, memory.centroids, MARGIN),
            "triplet": batch_hard_triplet_loss(appearance, labels, MARGIN),
        }
        if self.class_texts is not None:
            members = torch.from_numpy(self.members[camera]).to(projected.device)
            parts["text"] = identity_loss(projected @ self.class_texts[members].T, labels)
        return parts

    def after_update(self) -> None:
        for camera, features, labels in self._seen_by_camera:
            self.memories[camera].update(features, labels)
        self._seen_by_camera.clear()


class InterCameraStage(CcaflStage):
    """Across cameras: pseudo-identities from association, a memory of hardest samples, and the adversary."""

    def __init__(
        self, model: CcaflModel, data: IntraCameraSet, config: CcaflConfig, texts: ClassTexts | None
    ) -> None:  # fmt: skip
        super().__init__("inter", config.inter_epochs, model, data, config, texts)

    def begin(self) -> None:
        super().begin()
        self._seen: list[tuple[Tensor, Tensor]] = []

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        features = self.features(epoch)
        self.components = self.associate(features)  # (G,) pseudo-identity of each class, -1: dropped this epoch
        labels = torch.from_numpy(self.components[self.classes]).to(features.device)
        count = int(self.components.max(initial=-1)) + 1
        self.memory = CentroidMemory(class_means(features, labels, count), self.config.momentum)
        past = self.config.intra_epochs + epoch
        self.component_texts = None
        if self.class_texts is not None and past >= self.config.text_from_epoch:
            self.component_texts = self.mean_texts(labels, count)
        window = self.config.adversarial_epochs
        self.is_adversarial = window is not None and window[0] <= past < window[1]
        return self.draw(rng)

    def associate(self, features: Tensor) -> I64:
        config, count = self.config, len(self.class_cameras)
        if not config.is_associated:
            return np.arange(count, dtype=np.int64)
        if config.is_camera_centred:
            features = less_camera_means(features, torch.from_numpy(self.data.cameras).to(features.device))
        means = self.means_of_classes(features).cpu().numpy()
        components = associate_cameras(means, self.class_cameras, config.pairs_per_class, config.is_exclusive)
        if components.max(initial=-1) < 1:
            raise ConfigurationError(
                f"association left {components.max(initial=-1) + 1} pseudo-identities of {count} classes, "
                f"expected at least 2; raise pairs_per_class ({config.pairs_per_class}) or train longer in stage 2"
            )
        return components

    def mean_texts(self, labels: Tensor, count: int) -> Tensor:
        """(K, L): mean over a pseudo-identity's images of the texts of their classes."""
        assert self.class_texts is not None
        texts = self.class_texts[torch.from_numpy(self.classes).to(labels.device)]
        kept = labels >= 0
        sums = torch.zeros(count, texts.shape[1], device=texts.device).index_add_(0, labels[kept], texts[kept])
        return sums / torch.bincount(labels[kept], minlength=count)[:, None]

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        appearance, projected = self.features_of(images)
        config, device = self.config, appearance.device
        with torch.autocast(device.type, enabled=False):
            parts = {"classifier": self.classifier_loss(appearance, indices)}
            labels = torch.from_numpy(self.components[self.classes[indices]]).to(device)
            kept = labels >= 0
            if not kept.any():
                return parts
            self._seen.append((appearance[kept].detach(), labels[kept]))
            appearance, projected, labels = appearance[kept], projected[kept], labels[kept]
            parts["memory"] = memory_loss(appearance, labels, self.memory.centroids, config.temperature)
            parts["triplet"] = batch_hard_triplet_loss(appearance, labels, MARGIN)
            if self.component_texts is not None:
                parts["text"] = identity_loss(projected @ self.component_texts.T, labels)
            if self.is_adversarial:
                parts["adversarial"] = adversarial_loss(
                    appearance,
                    self.model.classifier.weight.detach(),
                    torch.from_numpy(self.classes[indices]).to(device)[kept],
                    torch.from_numpy(self.class_cameras).to(device),
                    torch.from_numpy(self.components).to(device),
                    config.adversarial,
                )
        return parts

    def after_update(self) -> None:
        for features, labels in self._seen:
            self.memory.update(features, labels, self.config.inter_update)
        self._seen.clear()

    def figures(self) -> Figures:
        linked = self.components >= 0
        return {"pseudo_identities": float(self.components.max() + 1), "linked_share": float(linked.mean())}


def draw_slots(classes: I64, members: I64, slots: int, rng: np.random.Generator) -> I64:
    """(M, slots) images of each class in `members`, drawn with replacement."""
    return np.stack([rng.choice(np.flatnonzero(classes == member), slots, replace=True) for member in members])


def less_camera_means(features: Tensor, cameras: Tensor) -> Tensor:
    """Unit features (N, d) without what all of a camera's have in common; `cameras` is (N,)."""
    count = int(cameras.max()) + 1
    sums = features.new_zeros(count, features.shape[1]).index_add_(0, cameras, features)
    means = sums / torch.bincount(cameras, minlength=count).clamp(min=1)[:, None]
    return functional.normalize(features - means[cameras], dim=1)

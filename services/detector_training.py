"""`python -m services.detector_training`: from videos to a detector of one's own, as `person-nano` was made.

`video`, `pictures` and `simulated` prepare scenes, `train` learns from them, `publish` writes the bundle.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer

from pipeline.adapters.detector_bundle import DetectorManifest, DetectorTraining, save_detector
from pipeline.camera.yolo import Layout
from pipeline.errors import ConfigurationError
from reid_models.checkpoints import CHECKPOINT
from reid_models.detection.composition import Composer, CompositionConfig
from reid_models.detection.export import exported
from reid_models.detection.material import material_of
from reid_models.detection.network import PersonDetector
from reid_models.detection.scenes import Scene, load_scenes, save_scene, split
from reid_models.detection.scoring import ScoreChoice, choose_score_on
from reid_models.detection.training import DetectorRecipe, detection_method, load_smoothed
from reid_models.trainer import Run, train
from services.detection_scenes import open_teacher, simulated_scene, taught_scene, video_images, zipped_images

MIN_SCORE = 0.1  # low on purpose: the tracker makes use of uncertain boxes

app = typer.Typer(no_args_is_help=True, help=__doc__)
TeachersOption = Annotated[
    list[Path], typer.Option("--teacher", help="A detector: .onnx, .xml (SSD) or a folder of Ultralytics; two or more")
]
ScenesOption = Annotated[Path, typer.Option(help="Folder of prepared scenes")]
HeldOutOption = Annotated[list[str], typer.Option("--held-out", help="Leave out scenes whose name begins so")]


@app.command()
def video(
    name: Annotated[str, typer.Argument(help="Of the scene; scenes of one place begin alike up to a hyphen")],
    file: Path,
    teacher: TeachersOption,
    scenes: ScenesOption,
    every: Annotated[int, typer.Option(min=1, help="Take each n-th frame")] = 1,
) -> None:
    """A video of an unmoving camera, labelled by what the teachers agree on."""
    save_scene(scenes, taught_scene(name, video_images(file, every), [open_teacher(path) for path in teacher]))


@app.command()
def pictures(name: str, frames: Path, boxes: Path, teacher: TeachersOption, scenes: ScenesOption) -> None:
    """A zip of frames of an unmoving camera with true boxes, which the teachers complete."""
    images, truth = zipped_images(frames, boxes)
    save_scene(scenes, taught_scene(name, images, [open_teacher(path) for path in teacher], truth))


@app.command()
def simulated(
    scenes: ScenesOption,
    first_seed: int = 101,
    sites: Annotated[int, typer.Option(min=1)] = 24,
    cameras: Annotated[int, typer.Option(min=1)] = 2,
    frames: Annotated[int, typer.Option(min=1)] = 12,
) -> None:
    """Cameras of simulated sites, with their truth."""
    for seed in range(first_seed, first_seed + sites):
        for camera in range(cameras):
            save_scene(scenes, simulated_scene(seed, camera, frames, people=6 + seed % 14))


@app.command(name="train")
def train_detector(
    scenes: ScenesOption,
    out: Annotated[Path, typer.Option(help="Folder of the run; a run in it goes on")],
    crops: Annotated[Path | None, typer.Option(help="Market-1501 folder or zip: people of its training part")] = None,
    held_out: HeldOutOption = [],  # noqa: B006
    epochs: Annotated[int, typer.Option(min=1)] = DetectorRecipe().epochs,
    batches: Annotated[
        int, typer.Option(min=1, help="Of 16 pictures, in an epoch")
    ] = DetectorRecipe().batches_per_epoch,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Learn from scenes; the last eighth of each long one is kept for `publish`."""
    torch.set_num_threads(threads)
    recipe = replace(DetectorRecipe(), epochs=epochs, batches_per_epoch=batches)
    known = chosen(load_scenes(scenes), held_out)
    composer = Composer(material_of([split(scene)[0] for scene in known], crops), CompositionConfig())
    method, _ = detection_method(composer, recipe)
    train(method, recipe.trainer, Run(out, {"epochs": epochs, "batches": batches}, names_digest(known)))


@app.command()
def publish(
    scenes: ScenesOption,
    run: Annotated[Path, typer.Option(help="Folder that `train` filled")],
    out: Annotated[Path, typer.Option(help="The bundle to write; its last part is the name")],
    licence: Annotated[str, typer.Option(help="What follows from the scenes for the use of the weights")],
    held_out: HeldOutOption = [],  # noqa: B006
    judge: Annotated[
        Path | None, typer.Option(help="Folder of another run, which held out the scenes of --judged-on")
    ] = None,
    judged_on: Annotated[list[str], typer.Option(help="Choose the score on scenes whose name begins so")] = [],  # noqa: B006
    height: Annotated[int, typer.Option(help="Of the network's input, a multiple of 32")] = 384,
    width: Annotated[int, typer.Option(help="Likewise")] = 640,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Choose the score of a sure person, export, and write the bundle.

    The score is chosen on the last eighth of each long scene: right for these cameras. A detector for other places is
    less sure there; its score comes from another run, a judge, on scenes that the judge has not seen.
    """
    torch.set_num_threads(threads)
    everything = load_scenes(scenes)
    known = chosen(everything, held_out)
    network = load_smoothed(run / CHECKPOINT, DetectorRecipe().network)
    if judge is None:
        choice = choose_score_on(network, [split(scene)[1] for scene in known], (height, width))
    else:
        unseen = [scene for scene in everything if scene.name.startswith(tuple(judged_on))]
        if not unseen:
            raise ConfigurationError(
                f"no scene's name begins with {' or '.join(judged_on) or 'anything, for nothing was given'}; expected "
                "those that the judge has held out: name them with --judged-on"
            )
        choice = choose_score_on(load_smoothed(judge / CHECKPOINT, network.config), unseen, (height, width))
    write_bundle(out, network, choice, known, licence, (height, width))


def chosen(scenes: list[Scene], held_out: list[str]) -> list[Scene]:
    """The scenes whose names begin with none of `held_out`."""
    return [scene for scene in scenes if not scene.name.startswith(tuple(held_out))]


def names_digest(scenes: list[Scene]) -> str:
    """16 hexadecimal digits over the scenes' names and numbers of frames."""
    text = "\n".join(f"{scene.name} {len(scene.frames)}" for scene in scenes)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_bundle(
    folder: Path, network: PersonDetector, choice: ScoreChoice, scenes: list[Scene], licence: str, size: tuple[int, int]
) -> DetectorManifest:
    """Export for pictures of `size` (height, width), and describe it in the manifest."""
    families = sorted({scene.name.split("-")[0] for scene in scenes})
    manifest = DetectorManifest(
        digest="0" * 16,
        name=folder.name,
        created=datetime.now(UTC).date().isoformat(),
        layout=Layout.YOLOX,
        input_height_px=size[0],
        input_width_px=size[1],
        channels="bgr",
        scale=1.0,
        placement="corner",
        person_class=0,
        classes=1,
        min_score=MIN_SCORE,
        training=DetectorTraining(
            description=f"{sum(len(scene.frames) for scene in scenes)} frames of {', '.join(families)}",
            data_digest=names_digest(scenes),
        ),
        metrics={
            "score_chosen": choice.sure_score,
            "choice_f1": choice.f1,
            "choice_precision": choice.precision,
            "choice_recall": choice.recall,
        },
        licence=licence,
    )
    return save_detector(folder, exported(network, choice.sure_score, size), manifest)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()

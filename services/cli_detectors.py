"""The command `sightline import-detector`: a detector that others trained becomes one of this site."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.contracts import Image
from pipeline.errors import ConfigurationError
from services.cli_options import ConfigOption, DataDirOption, parsed_size, settings_of

console = Console()

_MOST_PICTURES, _EVERY_FRAMES = 96, 15


def import_detector(
    file: Annotated[
        Path, typer.Argument(help="YOLO or YOLOX as .onnx, a checkpoint of Ultralytics as .pt, or a detector's folder")
    ],
    name: Annotated[str | None, typer.Option(help="What it is called here [default: as the file]")] = None,
    image_size: Annotated[
        str | None, typer.Option(metavar="HxW", help="As 384x640, where the file leaves it open")
    ] = None,
    person_class: Annotated[int | None, typer.Option(min=0, help="Where the file does not name its classes")] = None,
    min_score: Annotated[float, typer.Option(min=0.001, max=0.999, help="Boxes below it are left out")] = 0.1,
    licence: Annotated[str | None, typer.Option(help="What its publisher allows [default: as the file says]")] = None,
    picture: Annotated[Path | None, typer.Option(help="To try it on [default: a rendered scene]")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(metavar="PICTURES", help="Video, folder or zip of the cameras' pictures: int8 too")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Inspect a detector's network, try it on a picture, and keep it with a manifest."""
    if file.is_dir():
        _add_int8(file, calibrate)
        return
    from pipeline.adapters.detector_import import DetectorImport, import_detector
    from pipeline.adapters.detector_trial import scenes
    from pipeline.audit import AuditAction
    from services.audited import record_at_terminal

    settings = settings_of(config, data_dir)
    size = None if image_size is None else parsed_size(image_size)
    shown = next(scenes()).image if picture is None else _picture(picture)
    wanted = DetectorImport(file, name, size, person_class, min_score, licence)

    def record() -> None:
        record_at_terminal(settings, AuditAction.OPERATION, "detector imported", {"source": str(file)})

    with console.status(f"Importing {file.name}…"):
        made = import_detector(wanted, settings.data_dir.resolve() / "detectors", shown, record)
    found = made.manifest
    size_px = f"{found.input_height_px}x{found.input_width_px}"
    for line in (
        f"{found.name} is in {made.folder}, digest {found.digest}",
        f"layout {found.layout.value}, input {size_px} {found.channels}, person is class {found.person_class} of "
        f"{found.classes}, licence: {found.licence}",
        f"tried on {'a rendered scene' if picture is None else picture.name}: {len(made.persons)} persons found",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if calibrate is not None:
        _add_int8(made.folder, calibrate)
    if not len(made.persons):
        console.print("Nobody was found there: try it on a --picture of yours that shows people.")
    console.print("Next: ", end="")
    console.print(f"set tracking.detector_model to {made.folder}", markup=False, highlight=False, soft_wrap=True)


def _add_int8(folder: Path, pictures: Path | None) -> None:
    """The trial of the next start decides whether int8 runs."""
    from pipeline.adapters.detector_quantising import quantise_detector

    if pictures is None:
        raise ConfigurationError(f"{folder} is a detector already; give --calibrate PICTURES to add an int8 network")
    with console.status(f"Calibrating int8 on {pictures.name}…"):
        quantise_detector(folder, _pictures(pictures))
    console.print(f"{folder} has an int8 network; it runs where it finds the same boxes faster", soft_wrap=True)


def _pictures(path: Path) -> list[Image]:
    """Pictures of a folder or zip, or of a video one each second or so."""
    from services.evaluation.tracking import read_video
    from services.quantise import pictures

    if path.is_dir() or path.suffix == ".zip":
        return pictures(path)[:_MOST_PICTURES]
    return [frame.image for frame in islice(read_video(path), 0, _MOST_PICTURES * _EVERY_FRAMES, _EVERY_FRAMES)]


def _picture(path: Path) -> Image:
    import cv2

    read = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if read is None:
        raise ConfigurationError(f"{path} cannot be read as a picture; expected a JPEG or PNG file")
    return read.astype("uint8", copy=False)

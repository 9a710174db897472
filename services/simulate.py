"""`sightline simulate`: videos of a simulated site, and person crops, with perfect ground truth."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from pipeline.adapters.simulation.crops import write_reid_dataset
from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.videos import write_videos


def write_site(
    out: Path, *, cameras: int, people: int, duration_s: float, seed: int, with_crops: bool, console: Console
) -> None:
    """Videos with MOT ground truth and `people.json` into `out`; person crops into `out/crops`."""
    with Progress(console=console, transient=True) as progress:
        videos = progress.add_task("Videos", total=1.0)
        written = write_videos(
            SimulatedSite(seed, cameras, people),
            out,
            duration_s,
            progress=lambda share: progress.update(videos, completed=share),
        )
        console.print(f"{len(written)} videos with ground truth in {out}")
        if with_crops:
            crops = progress.add_task("Crops", total=1.0)
            images = write_reid_dataset(
                out / "crops", [seed], people, progress=lambda share: progress.update(crops, completed=share)
            )
            console.print(f"{images} crops in the Market-1501 layout in {out / 'crops'}")

"""Simulated videos with their truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.truth import (
    true_boxes,
)
from pipeline.adapters.simulation.videos import write_videos


def test_videos_come_with_their_truth(tmp_path: Path) -> None:
    import av

    site = SimulatedSite(5, cameras=2, people=8, size_px=(320, 180))
    videos = write_videos(site, tmp_path, 2.0, fps=10, since_s=7.0)
    assert [video.name for video in videos] == ["camera0.mp4", "camera1.mp4"]
    for camera, video in enumerate(videos):
        with av.open(str(video)) as container:
            pictures = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
        assert len(pictures) == 20
        assert np.abs(pictures[5].astype(int) - site.render(camera, 7.5)).mean() < 12
        lines = (tmp_path / f"gt_camera{camera}.txt").read_text().splitlines()
        rows = np.array([[float(field) for field in line.split(",")] for line in lines]).reshape(-1, 9)
        assert rows[:, 0].min(initial=1) >= 1
        assert rows[:, 0].max(initial=1) <= 20
        assert len({(row[0], row[1]) for row in rows}) == len(rows)
        at_five = {int(row[1]): row[2:6] for row in rows if row[0] == 6}
        assert at_five.keys() == {box.person_id for box in true_boxes(site, camera, 7.5)}
    account = json.loads((tmp_path / "people.json").read_text())
    assert [person["person_id"] for person in account["people"]] == list(range(1, 9))
    assert all(query["person_ids"] for query in account["queries"])

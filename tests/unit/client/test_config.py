"""Where the service is and who calls."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import hibana
from hibana.config import Settings, load, parse_address
from hibana.tokens import fetch

PROFILES = """
default_profile = "dev"

[profiles.dev]
address = "127.0.0.1:7000"
token = "dev-token"

[profiles.prod]
address = "https://hibana.example"
token_file = "{home}/prod.token"

[profiles.open]
address = "10.0.0.1:50051"
token = "t"
insecure = true

[profiles.wrong]
adress = "typo"

[profiles.kind]
tls = "yes"
"""


def write_private(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def token_of(settings: Settings) -> str:
    return settings.token if isinstance(settings.token, str) else asyncio.run(fetch(settings.token))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


@pytest.fixture
def profiles(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".config/hibana").mkdir(parents=True)
    write_private(tmp_path / ".config/hibana/config.toml", PROFILES.format(home=tmp_path))
    (tmp_path / "prod.token").write_text("prod-token\n")
    return environ


@pytest.mark.parametrize(
    ("address", "target", "tls"),
    [
        ("localhost:50051", "localhost:50051", False),
        ("[::1]:50051", "[::1]:50051", False),
        ("http://host:80/", "host:80", False),
        ("https://host", "host:443", True),
        ("https://host:8443", "host:8443", True),
        ("https://[::1]:1", "[::1]:1", True),
        ("unix:/run/hibana.sock", "unix:/run/hibana.sock", False),
        ("unix:///run/hibana.sock", "unix:/run/hibana.sock", False),
    ],
)
def test_addresses(address: str, target: str, tls: bool) -> None:
    assert parse_address(address, tls=False) == (target, tls)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host",
        "host:",
        ":1",
        "host:0",
        "host:65536",
        "host:x",
        "host:\u0661",
        "ftp://host:1",
        "xds:///x:1",
        "u@h:1",
        "a b:1",
        "h/x:1",
        "unix:",
        "dns:///x:1",
        "[::1]",
        "a\x00:1",
        "h:-1",
        "h:+1",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(hibana.ConfigError) as caught:
        parse_address(address, tls=False)
    assert caught.value.next_step


def test_http_and_tls_contradict_each_other() -> None:
    with pytest.raises(hibana.ConfigError, match="clear text"):
        parse_address("http://host:80", tls=True)


def test_the_default_is_this_machine_without_token(environ: dict[str, str]) -> None:
    settings = load(environ=environ)
    assert (settings.target, settings.tls, settings.token) == ("127.0.0.1:50051", False, "")


def test_arguments_win_over_the_environment_and_that_over_the_profile(profiles: dict[str, str]) -> None:
    assert load(environ=profiles).target == "127.0.0.1:7000"
    assert load(environ=profiles).token == "dev-token"
    told = profiles | {"HIBANA_ADDRESS": "127.0.0.1:7001", "HIBANA_TOKEN": "env-token"}
    assert (load(environ=told).target, load(environ=told).token) == ("127.0.0.1:7001", "env-token")
    asked = load(address="127.0.0.1:7002", token="arg-token", environ=told)
    assert (asked.target, asked.token) == ("127.0.0.1:7002", "arg-token")
    named = load(profile="prod", environ=told)
    assert (named.target, named.tls, token_of(named)) == ("hibana.example:443", True, "prod-token")


def test_a_profile_can_be_named_by_the_environment(profiles: dict[str, str]) -> None:
    assert load(environ=profiles | {"HIBANA_PROFILE": "prod"}).target == "hibana.example:443"


def test_the_token_of_a_profile_goes_to_its_own_address_only(profiles: dict[str, str]) -> None:
    assert load(address="127.0.0.1:9", environ=profiles).token == ""
    assert load(address="127.0.0.1:7000", environ=profiles).token == "dev-token"
    assert load(environ=profiles | {"HIBANA_ADDRESS": "127.0.0.1:9"}).token == ""


@pytest.mark.parametrize(
    "address", ["10.0.0.1:1", "example.com:1", "[2001:db8::1]:1", "http://example.com", "127.0.0.1.example.com:1"]
)
def test_a_token_does_not_leave_this_machine_in_clear(address: str, environ: dict[str, str]) -> None:
    with pytest.raises(hibana.ConfigError, match="clear text") as caught:
        load(address=address, token="t", environ=environ)
    assert "insecure" in caught.value.next_step
    assert load(address=address, token="t", insecure=True, environ=environ).token == "t"
    assert load(address=address, environ=environ).token == ""


@pytest.mark.parametrize("address", ["localhost:1", "127.9.9.9:1", "[::1]:1", "unix:/x", "https://example.com"])
def test_a_token_goes_to_this_machine_or_through_tls(address: str, environ: dict[str, str]) -> None:
    assert load(address=address, token="t", environ=environ).token == "t"


def test_a_profile_may_allow_clear_text(profiles: dict[str, str]) -> None:
    assert load(profile="open", environ=profiles).token == "t"
    with pytest.raises(hibana.ConfigError, match="clear text"):
        load(profile="open", insecure=False, environ=profiles)


@pytest.mark.parametrize("token", ["a b", "a\nb", "\u00e9", "a\x00"])
def test_a_token_with_strange_characters_is_refused(token: str, environ: dict[str, str]) -> None:
    with pytest.raises(hibana.ConfigError, match="token holds"):
        load(token=token, environ=environ)


@pytest.mark.parametrize(
    ("profile", "text"),
    [("nowhere", "no profile 'nowhere'"), ("wrong", "unknown key 'adress'"), ("kind", "tls must be a bool")],
)
def test_a_wrong_profile_is_told(profile: str, text: str, profiles: dict[str, str]) -> None:
    with pytest.raises(hibana.ConfigError, match=text):
        load(profile=profile, environ=profiles)


def test_a_profile_without_file_is_told(environ: dict[str, str]) -> None:
    with pytest.raises(hibana.ConfigError, match="there is no"):
        load(profile="dev", environ=environ)


@pytest.mark.parametrize("content", [b"not = = toml", b"\xff\xfe"])
def test_a_broken_file_is_told(content: bytes, profiles: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".config/hibana/config.toml").write_bytes(content)
    with pytest.raises(hibana.ConfigError, match="cannot be read"):
        load(environ=profiles)


def test_a_missing_token_file_is_told(profiles: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "prod.token").unlink()
    with pytest.raises(hibana.ConfigError, match="token file"):
        load(profile="prod", environ=profiles)


def test_xdg_config_home_is_honoured(profiles: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "other/hibana"
    other.mkdir(parents=True)
    (other / "config.toml").write_text('default_profile = "x"\n[profiles.x]\naddress = "127.0.0.1:1"\n')
    assert load(environ=profiles | {"XDG_CONFIG_HOME": str(tmp_path / "other")}).target == "127.0.0.1:1"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_file_with_a_token_that_others_may_read_is_refused(
    mode: int, profiles: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / ".config/hibana/config.toml").chmod(mode)
    with pytest.raises(hibana.ConfigError, match="others may read") as caught:
        load(environ=profiles)
    assert "chmod 600" in caught.value.next_step


def test_a_file_without_a_token_may_be_read_by_all(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".config/hibana").mkdir(parents=True)
    file = tmp_path / ".config/hibana/config.toml"
    file.write_text('default_profile = "x"\n[profiles.x]\naddress = "127.0.0.1:1"\n')
    file.chmod(0o644)
    assert load(environ=environ).target == "127.0.0.1:1"


def test_a_profile_may_say_how_to_do_tls(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".config/hibana").mkdir(parents=True)
    (tmp_path / ".config/hibana/config.toml").write_text(
        '[profiles.m]\naddress = "10.0.0.1:1"\ntls = true\nca_file = "ca"\ncert_file = "c"\nkey_file = "k"\n'
        'server_name = "n"\n'
    )
    found = load(profile="m", environ=environ)
    assert (found.tls, found.ca_file, found.cert_file, found.key_file, found.server_name) == (True, "ca", "c", "k", "n")


def test_a_certificate_needs_its_key_and_both_need_tls(environ: dict[str, str]) -> None:
    with pytest.raises(hibana.ConfigError, match="needs its key"):
        load(address="https://x", cert_file="c", environ=environ)
    with pytest.raises(hibana.ConfigError, match="clear text") as caught:
        load(address="10.0.0.1:1", ca_file="ca", environ=environ)
    assert "https://10.0.0.1:1" in caught.value.next_step


def test_a_token_does_not_show_in_the_settings(environ: dict[str, str]) -> None:
    assert "geheim" not in repr(load(token="geheim", environ=environ))

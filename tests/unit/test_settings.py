"""Settings: where they come from, what is refused, and that each one is documented."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest

from hibana_server.domain.audit import Kind
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.settings.addresses import Address, parse_address
from hibana_server.settings.durations import parse_duration
from hibana_server.settings.model import PREFIX, Settings, SettingsError, load, variables
from tools import settings_doc


def write(folder: Path, text: str) -> Path:
    file = folder / "hibana.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_nothing_given_leaves_the_defaults() -> None:
    assert load(None, {}) == Settings()
    assert load(None, {"PATH": "/bin", "HIBANA_ADDRESS": "elsewhere:1"}, {"listen": None}) == Settings()


def test_options_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, 'listen = "file:1"\nhttp = "file:2"\ndata_dir = "file"\n[pool]\nmax_queue = 1\n')
    environ = {f"{PREFIX}LISTEN": "env:1", f"{PREFIX}HTTP": "env:2"}
    settings = load(file, environ, {"listen": "option:1"})
    assert (settings.listen, settings.http, settings.data_dir) == ("option:1", "env:2", "file")
    assert settings.pool.max_queue == 1


def test_the_environment_reaches_every_setting() -> None:
    defaults = msgspec.to_builtins(Settings())
    changed: dict[type, Any] = {str: "x", int: 7, float: 7.5, tuple: ["x", "y"]}
    special: dict[tuple[str, ...], Any] = {("log", "level"): "debug", ("log", "format"): "text"}
    special["sandbox", "require_walls"] = ["landlock", "seccomp"]
    special |= {("otel", "endpoint"): "http://collector:4317", ("otel", "sample_ratio"): 0.5}
    special |= {(f"gate_{tier}", "tables"): 3 for tier in Tier}
    special["jwt", "algorithms"] = ["ES256"]
    needed: dict[tuple[str, ...], Any] = {
        ("jwt", name): {f"{PREFIX}JWT_ISSUERS": "y"} for name in ("jwks", "secret", "secret_file")
    }
    needed["jwt", "issuers"] = {f"{PREFIX}JWT_JWKS": "y"}
    special |= {("history", f"{tier}_seconds"): 77.5 for tier in Tier}
    special |= {("audit", f"{kind}_seconds"): 7200.5 for kind in Kind}
    special |= {("audit", f"{kind}_bytes"): 2**20 + 7 for kind in Kind}
    for variable, path in variables():
        default: Any = defaults
        for part in path:
            default = default[part]
        value = special.get(path, not default if isinstance(default, bool) else changed.get(type(default)))
        text = ", ".join(value) if isinstance(value, list) else str(value).lower()
        found = msgspec.json.decode(msgspec.json.encode(load(None, {variable: text, **needed.get(path, {})})))
        for part in path:
            found = found[part]
        assert found == value, variable


def test_settings_that_are_shown_tell_no_secret() -> None:
    secret = "a secret of thirty-two bytes or more"
    settings = load(None, {f"{PREFIX}JWT_SECRET": secret, f"{PREFIX}JWT_ISSUERS": "https://project.example"})
    assert settings.jwt.secret == secret
    assert secret not in repr(settings)
    assert "https://project.example" in repr(settings)


def test_sections_of_the_file_and_the_environment_mix(tmp_path: Path) -> None:
    file = write(tmp_path, "[pool]\nmax_sandboxes = 3\nmax_queue = 4\n")
    settings = load(file, {f"{PREFIX}POOL_MAX_QUEUE": "5"})
    assert (settings.pool.max_sandboxes, settings.pool.max_queue) == (3, 5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lisen = '127.0.0.1:1'", "lisen"),
        ("[pool]\nsize = 3", "size"),
        ("[pools]\n", "pools"),
        ("listen = 3", "listen"),
        ("pool = 3", "pool"),
        ("listen = ", "hibana.toml"),
        ("[pool]\nmax_sandboxes = 'many'", "max_sandboxes"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load(write(tmp_path, text), {})


def test_a_section_that_is_no_section_is_refused_with_the_environment_too(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"pool must be a section, \[pool\]"):
        load(write(tmp_path, "pool = 3"), {f"{PREFIX}POOL_MAX_QUEUE": "5"})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml: No such file"):
        load(tmp_path / "missing.toml", {})
    file = tmp_path / "hibana.toml"
    file.write_bytes(b"listen = '\xff'")
    with pytest.raises(SettingsError, match=r"hibana\.toml"):
        load(file, {})


@pytest.mark.parametrize("variable", ["LISTENS", "POOL", "POOL_", "POOL_SIZE", "", "TOKEN_KEY"])
def test_an_unknown_variable_is_refused_with_those_that_are_known(variable: str) -> None:
    with pytest.raises(SettingsError, match=f"{PREFIX}POOL_MAX_SANDBOXES"):
        load(None, {PREFIX + variable: "1"})


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(SettingsError, match="port"):
        load(None, {}, {"port": 1})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("POOL_MAX_SANDBOXES", "-1"),
        ("POOL_MAX_SANDBOXES", "1025"),
        ("POOL_MAX_SANDBOXES", "1.5"),
        ("POOL_MEMORY_BUDGET", "-1"),
        ("POOL_MEMORY_BUDGET", "64MiB"),
        ("POOL_MAX_QUEUE", "-1"),
        ("POOL_MAX_QUEUE", "100001"),
        ("POOL_IDLE_SECONDS", "0"),
        ("POOL_IDLE_SECONDS", "nan"),
        ("POOL_IDLE_SECONDS", "inf"),
        ("POOL_MODULE_CACHE_BYTES", "-1"),
        ("SANDBOX_REQUIRE_WALLS", "landlock,moat"),
        ("COMPILE_CONCURRENCY", "-1"),
        ("COMPILE_CONCURRENCY", "257"),
        ("COMPILE_MAX_QUEUE", "-1"),
        ("COMPILE_MAX_QUEUE", "10001"),
        ("COMPILE_ARTIFACT_BYTES", "0"),
        ("DRAIN_SECONDS", "-1"),
        ("DRAIN_SECONDS", "3601"),
        ("DRAIN_SECONDS", "nan"),
        ("DRAIN_SECONDS", ""),
        ("UPLOAD_STALL_SECONDS", "0"),
        ("UPLOAD_STALL_SECONDS", "inf"),
        ("GATE_USER_TABLES", "5"),
        ("GATE_USER_FUNCTIONS", "100001"),
        ("GATE_ADMIN_TABLE_ELEMENTS", "100001"),
        ("GATE_SYSTEM_GLOBALS", "50001"),
        ("GATE_SYSTEM_NESTING", "100000001"),
        ("OTEL_ENDPOINT", "127.0.0.1:4317"),
        ("OTEL_ENDPOINT", "http://collector"),
        ("OTEL_ENDPOINT", "http://collector:4318/v1/traces"),
        ("OTEL_ENDPOINT", "ftp://collector:4317"),
        ("OTEL_SERVICE_NAME", " "),
        ("OTEL_SAMPLE_RATIO", "1.01"),
        ("OTEL_SAMPLE_RATIO", "nan"),
        ("OTEL_INTERVAL_SECONDS", "0"),
        ("OTEL_TIMEOUT_SECONDS", "inf"),
        ("OTEL_MAX_WAITING", "0"),
        ("JWT_ALGORITHMS", "HS256"),
        ("JWT_ALGORITHMS", "none"),
        ("JWT_LEEWAY_SECONDS", "301"),
        ("LIMITS_CONNECTIONS", "1000001"),
        ("LIMITS_REQUEST_BYTES", "0"),
        ("LOG_LEVEL", "verbose"),
        ("LOG_LEVEL", "INFO"),
        ("LOG_FORMAT", "xml"),
        ("LOG_ACCESS", "maybe"),
        ("REFLECTION", "maybe"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(variable: str, value: str) -> None:
    (path,) = [path for name, path in variables() if name == PREFIX + variable]
    with pytest.raises(SettingsError) as caught:
        load(None, {PREFIX + variable: value})
    assert ".".join(path) in str(caught.value)


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:4317", "https://collector.example:4317/", "http://[::1]:1"])
def test_where_traces_may_go(endpoint: str) -> None:
    assert load(None, {f"{PREFIX}OTEL_ENDPOINT": endpoint}).otel.endpoint == endpoint


def test_limits_of_modules_are_those_of_the_domain_and_can_be_set(tmp_path: Path) -> None:
    static = {tier: policy.static for tier, policy in DEFAULT_POLICIES.items()}
    defaults = load(None, {})
    assert {tier: getattr(defaults, f"gate_{tier}").limits() for tier in Tier} == static
    settings = load(write(tmp_path, "[gate_user]\nnesting = 7\n"), {f"{PREFIX}GATE_ADMIN_LOCALS": "8"})
    assert settings.gate_user.limits() == replace(static[Tier.USER], nesting=7)
    assert settings.gate_admin.limits() == replace(static[Tier.ADMIN], locals=8)
    assert settings.gate_system.limits() == static[Tier.SYSTEM]


def test_every_number_and_choice_has_a_check() -> None:
    for variable, path in variables():
        kind: Any = Settings
        for part in path:
            kind = get_type_hints(kind)[part]
        if kind in {int, float}:
            with pytest.raises(SettingsError):
                load(None, {variable: "-1"})


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:50051", Address("127.0.0.1", 50051), True),
        ("127.8.8.8:0", Address("127.8.8.8", 0), True),
        ("localhost:1", Address("localhost", 1), True),
        ("[::1]:80", Address("::1", 80), True),
        ("0.0.0.0:80", Address("0.0.0.0", 80), False),
        ("[::]:80", Address("::", 80), False),
        ("localhost.example.com:80", Address("localhost.example.com", 80), False),
        ("example.com:65535", Address("example.com", 65535), False),
    ],
)
def test_addresses(text: str, address: Address, loopback: bool) -> None:
    assert parse_address(text) == address
    assert str(address) == text
    assert address.is_loopback == loopback


@pytest.mark.parametrize(
    "text", ["", ":", "host", "host:", ":80", "host:http", "host:65536", "host:-1", "host:8 0", "host:١"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("2s", 2.0),
        ("1.5s", 1.5),
        ("10m", 600.0),
        ("1h", 3600.0),
        ("7d", 604800.0),
        ("3", 3.0),
        (" 1s ", 1),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 s", "1w", "1e3s", ".5s", "inf", "nan", "1s\n1s", "١s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="7d"):
        parse_duration(text)


def test_the_document_is_up_to_date() -> None:
    hint = "run `make generate`"
    assert settings_doc.FILE.read_text(encoding="utf-8") == settings_doc.render(), hint


def test_the_document_lists_every_setting_with_a_sentence() -> None:
    first, *parts = settings_doc.render().split("\n## ")[1:]
    for _, path in variables():
        of_section = [part for part in parts if part.startswith(f"`[{path[0]}]`")]
        (part,) = of_section if len(path) > 1 else [first]
        (row,) = [line for line in part.splitlines() if line.startswith(f"| `{path[-1]}` |")]
        assert row.rstrip(" |").endswith("."), row


def test_the_example_in_the_document_is_valid(tmp_path: Path) -> None:
    example = settings_doc.render().split("```toml\n")[1].split("```")[0]
    assert tomllib.loads(example)
    assert load(write(tmp_path, example), {}).pool.max_sandboxes == 8

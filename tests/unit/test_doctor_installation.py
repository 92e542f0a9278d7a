"""What the doctor says of settings, certificates, a data directory, databases and artifacts."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hibana_server.doctor import configuration
from hibana_server.doctor.artifacts import examine_artifacts
from hibana_server.doctor.certificates import SOON, examine_certificates, judge_end
from hibana_server.doctor.check import Check, State, spelled
from hibana_server.doctor.configuration import examine_settings
from hibana_server.doctor.databases import examine_pages, examine_schemas
from hibana_server.doctor.directory import examine_directory, judge_directory, server_on
from hibana_server.doctor.releases import examine_releases, judge_sqlite
from hibana_server.settings.model import Settings, load
from hibana_server.storage.data_dir import DataDir, lock_data_dir, open_data_dir
from hibana_server.storage.migrate import upgrade
from tests.framework.certificates import Authority

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def looked(examination: Callable[[Settings], Iterable[Check]], **options: Any) -> dict[str, Check]:
    """Return an examination's checks by name; whatever is amiss has a next step."""
    found = {check.name: check for check in examination(load(environ={}, options=options))}
    assert all(bool(check.fix) is (check.state is not State.OK) for check in found.values())
    return found


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    """Make a data directory with both databases."""
    made = open_data_dir(tmp_path / "data")
    upgrade(made)
    return made


def test_the_releases_are_told() -> None:
    found = looked(examine_releases)
    assert {check.state for check in found.values()} == {State.OK}
    assert {"release python", "release hibana", "release wasmtime", "release grpcio", "release sqlite"} == set(found)
    assert judge_sqlite("3.7.15").state is State.FAIL


@pytest.mark.parametrize(
    ("options", "name", "state"),
    [
        ({}, "settings", State.OK),
        ({"listen": "0.0.0.0:1"}, "settings plain text", State.FAIL),
        ({"http": "[::]:1"}, "settings plain text", State.FAIL),
        ({"listen": "0.0.0.0:1", "allow_plaintext": True}, "settings plain text", State.WARN),
        ({"listen": "here"}, "settings listen", State.FAIL),
        ({"http": "here"}, "settings http", State.FAIL),
        ({"pool": {"memory_budget": 1 << 60}}, "settings memory", State.WARN),
        ({"pool": {"memory_budget": 1 << 20}}, "settings memory", State.OK),
    ],
)
def test_settings_are_judged(options: dict[str, Any], name: str, state: State) -> None:
    assert looked(examine_settings, **options)[name].state is state


def test_traces_without_the_packages_for_them_are_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    otel = {"endpoint": "http://127.0.0.1:4317"}
    assert "settings otel" not in looked(examine_settings, otel=otel)
    monkeypatch.setattr(configuration, "export_installed", lambda: False)
    assert looked(examine_settings, otel=otel)["settings otel"].state is State.FAIL
    assert "settings otel" not in looked(examine_settings)


def test_settings_that_keep_everything_here_or_in_tls_raise_nothing() -> None:
    for options in ({}, {"http": "off", "listen": "0.0.0.0:1", "tls": {"certificate": "c", "key": "k"}}):
        assert {check.state for check in looked(examine_settings, **options).values()} == {State.OK}


def test_certificates_that_fit_are_told_with_their_days(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("127.0.0.1")
    tls = {"certificate": pair.certificate_file, "key": pair.key_file, "client_ca": authority.file}
    found = looked(examine_certificates, tls=tls)
    assert found["tls"].state is State.OK
    assert {found["tls certificate"].state, found["tls client_ca"].state} == {State.WARN}  # they hold for a day
    assert "0 days" in found["tls certificate"].detail
    assert looked(examine_certificates) == {}


@pytest.mark.parametrize("change", [{"key": ""}, {"key": "gone.key"}, {"certificate": "authority.pem"}])
def test_certificates_that_do_not_fit_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pair = Authority(tmp_path).sign("127.0.0.1")
    found = looked(examine_certificates, tls={"certificate": pair.certificate_file, "key": pair.key_file, **change})
    assert [(check.name, check.state) for check in found.values()] == [("tls", State.FAIL)]


@pytest.mark.parametrize(
    ("left", "state"),
    [(SOON, State.OK), (SOON - dt.timedelta(seconds=1), State.WARN), (dt.timedelta(0), State.FAIL)],
)
def test_a_certificate_is_judged_by_the_time_it_has_left(left: dt.timedelta, state: State) -> None:
    assert judge_end("certificate", NOW + left, NOW).state is state


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = looked(examine_directory, data_dir=str(tmp_path / "a" / "b"))
    assert {"data directory", "disk"} == set(found)
    assert found["data directory"].state is State.OK
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_somebody_elses_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert looked(examine_directory, data_dir=str(tmp_path))["data directory"].state is State.FAIL
    assert looked(examine_directory, data_dir=str(tmp_path / "thesis.txt"))["data directory"].state is State.FAIL


def test_modes_are_judged(data_dir: DataDir) -> None:
    options = {"data_dir": str(data_dir.path)}
    assert {looked(examine_directory, **options)[name].state for name in ("data directory", "keys", "blobs")} == {
        State.OK
    }
    key = data_dir.keys / "token.key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o640)
    data_dir.path.chmod(0o750)
    found = looked(examine_directory, **options)
    assert (found["keys"].state, found["data directory"].state) == (State.FAIL, State.WARN)
    assert "token.key" in found["keys"].detail
    status = data_dir.path.stat()
    assert judge_directory(data_dir.path, status, status.st_uid + 1, None).state is State.WARN


def test_blobs_are_judged(data_dir: DataDir) -> None:
    options = {"data_dir": str(data_dir.path)}
    (data_dir.blobs / "quarantine").mkdir()
    (data_dir.blobs / "quarantine" / "damaged").touch()
    assert looked(examine_directory, **options)["blobs"].state is State.WARN
    data_dir.blobs.rename(data_dir.path / "elsewhere")
    assert looked(examine_directory, **options)["blobs"].state is State.FAIL


def test_the_server_of_a_directory_is_found_without_trying_its_lock(data_dir: DataDir) -> None:
    assert server_on(data_dir) is None
    lock = lock_data_dir(data_dir)
    assert server_on(data_dir) == os.getpid()
    assert str(os.getpid()) in looked(examine_directory, data_dir=str(data_dir.path))["data directory"].detail
    lock.release()
    assert server_on(data_dir) is None


def test_databases_at_rest_are_read_and_left_as_they_are(data_dir: DataDir) -> None:
    options = {"data_dir": str(data_dir.path)}
    before = {path.name: path.stat().st_mtime_ns for path in data_dir.path.iterdir()}
    found = looked(examine_schemas, **options) | looked(examine_pages, **options)
    assert {check.state for check in found.values()} == {State.OK}
    assert len(found) == 6
    assert {path.name: path.stat().st_mtime_ns for path in data_dir.path.iterdir()} == before


@pytest.mark.parametrize(
    ("statement", "state", "told"),
    [
        ("UPDATE alembic_version SET version_num = 'r0001'", State.WARN, "migrate"),
        ("UPDATE alembic_version SET version_num = 'r9999'", State.FAIL, "later one"),
        ("DROP TABLE alembic_version", State.FAIL, "another --data-dir"),
    ],
)
def test_a_schema_of_another_release_is_told_with_what_to_run(
    data_dir: DataDir, statement: str, state: State, told: str
) -> None:
    with closing(sqlite3.connect(data_dir.registry_db)) as connection, connection:
        connection.execute(statement)
    found = looked(examine_schemas, data_dir=str(data_dir.path))["schema registry"]
    assert found.state is state
    assert told in found.fix


def test_damaged_pages_fail(data_dir: DataDir) -> None:
    kept = data_dir.registry_db.read_bytes()
    data_dir.registry_db.write_bytes(kept[:4096] + b"\xff" * (len(kept) - 4096))
    assert looked(examine_pages, data_dir=str(data_dir.path))["database registry"].state is State.FAIL
    data_dir.registry_db.write_bytes(b"no database at all" * 100)
    assert looked(examine_schemas, data_dir=str(data_dir.path))["schema registry"].state is State.FAIL


def test_artifacts_are_counted_against_their_budget(data_dir: DataDir) -> None:
    folder = data_dir.artifacts / "user" / "ab"
    folder.mkdir(parents=True)
    (folder / f"{'ab' * 32}.cwasm").write_bytes(b"x" * 100)
    options = {"data_dir": str(data_dir.path)}
    found = looked(examine_artifacts, **options)["artifacts"]
    assert (found.state, found.detail.startswith("1 compiled modules, 100 bytes")) == (State.OK, True)
    assert looked(examine_artifacts, **options, compile={"artifact_bytes": 99})["artifacts"].state is State.WARN


def test_sizes_are_spelled_for_people() -> None:
    assert [spelled(size) for size in (0, 1023, 1024, 3 << 29)] == ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 GiB"]

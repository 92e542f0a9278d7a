"""The data directory."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hibana_server.domain.errors import Unavailable
from hibana_server.storage.data_dir import load_or_create_key, lock_data_dir, open_data_dir


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_in_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        data_dir = open_data_dir(tmp_path / "a" / "data")
    finally:
        os.umask(old)
    for path in (data_dir.path, data_dir.blobs, data_dir.artifacts, data_dir.keys):
        assert mode(path) == 0o700
    assert open_data_dir(data_dir.path) == data_dir


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    tmp_path.chmod(0o755)
    with pytest.raises(Unavailable, match="choose another"):
        open_data_dir(tmp_path)
    assert mode(tmp_path) == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_empty_volume_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    open_data_dir(tmp_path)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="is not a directory"):
        open_data_dir(tmp_path / "file")


def test_a_second_server_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    data_dir = open_data_dir(tmp_path / "data")
    lock = lock_data_dir(data_dir)
    with pytest.raises(Unavailable, match=rf"process id {os.getpid()}:"):
        lock_data_dir(data_dir)
    lock.release()
    lock.release()
    lock_data_dir(data_dir).release()


def test_a_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "jwt"
    key = load_or_create_key(path)
    assert len(key) == 32
    assert load_or_create_key(path) == key
    assert mode(path) == 0o600
    assert load_or_create_key(tmp_path / "other") != key
    assert {file.name for file in tmp_path.iterdir()} == {"jwt", "other"}


def test_those_who_make_a_key_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: load_or_create_key(tmp_path / "jwt"), range(32)))
    assert len(keys) == 1


def test_damaged_open_or_redirected_keys_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "jwt"
    load_or_create_key(path)
    path.chmod(0o640)
    with pytest.raises(Unavailable, match="chmod 600"):
        load_or_create_key(path)
    path.chmod(0o600)
    for content in (b"", b"short", b"x" * 33):
        path.write_bytes(content)
        with pytest.raises(Unavailable, match="damaged"):
            load_or_create_key(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(Unavailable, match="cannot be read"):
        load_or_create_key(tmp_path / "link")

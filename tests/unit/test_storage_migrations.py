"""Schema revisions."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine

from hibana_server.domain.errors import Unavailable
from hibana_server.storage import migrate
from hibana_server.storage.data_dir import DataDir, open_data_dir
from hibana_server.storage.sql.tables import audit_metadata, executions_metadata, registry


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    return open_data_dir(tmp_path / "data")


METADATA = {"registry": registry, "executions": executions_metadata, "audit": audit_metadata}


@pytest.mark.parametrize(("name", "metadata"), METADATA.items())
def test_the_migrated_schema_is_the_one_the_code_uses(data_dir: DataDir, name: str, metadata: MetaData) -> None:
    migrate.upgrade(data_dir)
    engine = create_engine(f"sqlite:///{data_dir.path / name}.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


@pytest.mark.parametrize("name", METADATA)
def test_revisions_form_one_line_in_the_order_of_their_names(name: str) -> None:
    scripts = ScriptDirectory(str(Path(migrate.__file__).parent / "migrations" / name))
    assert [script.revision for script in scripts.walk_revisions()][::-1] == migrate.revisions(name)


def test_upgrading_again_changes_nothing(data_dir: DataDir) -> None:
    migrate.upgrade(data_dir)
    before = data_dir.registry_db.read_bytes()
    migrate.upgrade(data_dir)
    assert data_dir.registry_db.read_bytes() == before
    for file in data_dir.databases.values():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_logging_stays_as_it_was(data_dir: DataDir) -> None:
    logger = logging.getLogger("hibana_server")
    before = (logging.root.level, list(logging.root.handlers), logger.disabled)
    migrate.upgrade(data_dir)
    assert (logging.root.level, logging.root.handlers, logger.disabled) == before


def test_a_database_of_a_later_release_is_refused_untouched(data_dir: DataDir) -> None:
    migrate.upgrade(data_dir)
    with closing(sqlite3.connect(data_dir.executions_db)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'r9999'")
    with pytest.raises(Unavailable, match=r"executions\.db was written by another release \(schema r9999; .*: start"):
        migrate.upgrade(data_dir)
    assert migrate.current_revision(data_dir.executions_db) == "r9999"


def test_a_database_that_is_not_ours_is_refused(data_dir: DataDir) -> None:
    with closing(sqlite3.connect(data_dir.registry_db)) as connection, connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(Unavailable, match="no database of Hibana"):
        migrate.upgrade(data_dir)


def test_a_file_that_is_no_database_is_refused(data_dir: DataDir) -> None:
    data_dir.registry_db.write_bytes(b"not a database" * 1000)
    with pytest.raises(Unavailable, match="restore it from a backup") as caught:
        migrate.upgrade(data_dir)
    assert str(data_dir.path) not in caught.value.message


def test_an_interrupted_upgrade_leaves_the_old_schema(data_dir: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    import alembic.op

    create_index = alembic.op.create_index

    def interrupted(name: str, *arguments: object, **options: object) -> None:
        if name == "ix_versions_sha256":  # the last step
            raise KeyboardInterrupt
        create_index(name, *arguments, **options)  # type: ignore[arg-type] # passed on as they came

    with monkeypatch.context() as patch:
        patch.setattr(alembic.op, "create_index", interrupted)
        with pytest.raises(KeyboardInterrupt):
            migrate.upgrade(data_dir)
    assert migrate.current_revision(data_dir.registry_db) is None
    migrate.upgrade(data_dir)
    assert migrate.current_revision(data_dir.registry_db) == migrate.revisions("registry")[-1]


def test_processes_that_start_at_once_take_turns(data_dir: DataDir) -> None:
    code = (
        "import sys; from pathlib import Path; from hibana_server.storage.data_dir import open_data_dir;"
        "from hibana_server.storage.migrate import upgrade; upgrade(open_data_dir(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(data_dir.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert migrate.current_revision(data_dir.registry_db) == migrate.revisions("registry")[-1]

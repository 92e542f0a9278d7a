"""Translate what the disk and the database raise into domain errors, where they enter."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc as sql

from hibana_server.domain.errors import AlreadyExists, HibanaError, Internal, Unavailable

FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_OUT_OF_REACH = (
    sql.OperationalError,
    sql.InterfaceError,
    sql.InternalError,
    sql.TimeoutError,
    sql.DisconnectionError,
    sqlite3.OperationalError,
    OSError,
)


def disk_error(error: OSError) -> Unavailable:
    """Return the domain error for a failed file operation; the text names no path."""
    if error.errno in FULL_ERRNOS:
        return Unavailable(
            "The module storage is full. Try again later; the operator has to free disk space.",
            reason="STORAGE_UNAVAILABLE",
            retry_after=30.0,
        )
    return Unavailable(
        "The module storage cannot be read or written. Try again in a few seconds; if it lasts, tell the operator.",
        reason="STORAGE_UNAVAILABLE",
        retry_after=5.0,
    )


def database_error(error: BaseException) -> HibanaError:
    """Return the domain error for a failed statement; the text carries no SQL, value or path."""
    cause = error.orig if isinstance(error, sql.DBAPIError) else error
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:  # the driver's own errors carry no code
        return Unavailable(
            "The database's disk is full. Try again later; the operator has to free disk space.",
            reason="DATABASE_UNAVAILABLE",
            retry_after=30.0,
        )
    if isinstance(error, sql.IntegrityError | sqlite3.IntegrityError):
        return AlreadyExists("Something with this identity exists already. Read it, then decide again.")
    if isinstance(error, _OUT_OF_REACH) or isinstance(cause, sqlite3.DatabaseError):
        return Unavailable(
            "The database cannot be reached. Try again in a few seconds; if it lasts, tell the operator.",
            reason="DATABASE_UNAVAILABLE",
            retry_after=1.0,
        )
    return Internal("The database refused a statement of the service. Tell the operator; the log has the cause.")


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise Unavailable(STORAGE_UNAVAILABLE) for every OSError of the body."""
    try:
        yield
    except OSError as error:
        raise disk_error(error) from error


@contextmanager
def database_errors() -> Iterator[None]:
    """Raise domain errors for everything that SQLAlchemy or the driver raises in the body."""
    try:
        yield
    except (sql.SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise database_error(error) from error

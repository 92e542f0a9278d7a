"""Every hostile case there is, theme by theme."""

from __future__ import annotations

from importlib import import_module

from tests.hostile.cases import Case

THEMES = (
    "clients_audit",
    "clients_cancel",
    "clients_detached",
    "clients_resources",
    "clients_sessions",
    "clients_session_floods",
    "clients_http2",
    "clients_keys",
    "clients_messages",
    "clients_names",
    "clients_tokens",
    "clients_uploads",
    "faults",
    "faults_disk",
    "isolation",
    "load",
    "modules_compile",
    "modules_files",
    "modules_formats",
    "modules_memory",
    "modules_output",
    "modules_time",
    "modules_traps",
    "modules_wasi",
)
"""Modules of this package, each with its `CASES`."""

CASES: tuple[Case, ...] = tuple(case for theme in THEMES for case in import_module(f"tests.hostile.{theme}").CASES)

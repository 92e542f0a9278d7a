"""What the doctor looks at, in order."""

from __future__ import annotations

import functools

from hibana_server.doctor.artifacts import examine_artifacts
from hibana_server.doctor.audit import examine_audit
from hibana_server.doctor.certificates import examine_certificates
from hibana_server.doctor.check import Examination
from hibana_server.doctor.configuration import examine_settings
from hibana_server.doctor.databases import examine_pages, examine_schemas
from hibana_server.doctor.directory import examine_directory
from hibana_server.doctor.identity import examine_identity, examine_provider
from hibana_server.doctor.releases import examine_releases
from hibana_server.doctor.stored import Tell, examine_stored
from hibana_server.doctor.walls import examine_walls

QUICK: tuple[tuple[str, Examination], ...] = (
    ("releases", examine_releases),
    ("settings", examine_settings),
    ("tls", examine_certificates),
    ("identity", examine_identity),
    ("data directory", examine_directory),
    ("schemas", examine_schemas),
    ("artifacts", examine_artifacts),
    ("walls", examine_walls),
)
"""Every one of these is over in a moment, however much is stored."""


def quick_round() -> list[tuple[str, Examination]]:
    """Return the usual examinations."""
    return [*QUICK, ("databases", examine_pages)]


def thorough_round(tell: Tell) -> list[tuple[str, Examination]]:
    """Return examinations that read all that is stored; `tell` is told how far they are."""
    return [
        *QUICK,
        ("identity provider", examine_provider),
        ("stored", functools.partial(examine_stored, tell=tell)),
        ("audit", examine_audit),
    ]

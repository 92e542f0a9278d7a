"""What pyproject.toml asks for, what constraints.txt pins and what generated code demands agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = [Requirement(text) for text in PROJECT["dependencies"]]
ALL = BASE + [Requirement(text) for extra in PROJECT["optional-dependencies"].values() for text in extra]


def pins() -> dict[str, Version]:
    """Return name -> version of constraints.txt; a line of any other kind fails."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.+]*)", line)
            assert match is not None, f"not a plain pin: {line}"
            found[match[1]] = Version(match[2])
    return found


@pytest.mark.parametrize("requirement", ALL, ids=str)
def test_constraints_pin_every_requirement_within_its_range(requirement: Requirement) -> None:
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_engine_is_pinned_exactly() -> None:
    (engine,) = [requirement for requirement in ALL if requirement.name == "wasmtime"]
    assert [specifier.operator for specifier in engine.specifier] == ["=="]


@pytest.mark.parametrize(
    ("package", "pattern", "demand"),
    [
        ("grpcio", "*_pb2_grpc.py", r"GRPC_GENERATED_VERSION = '([0-9.]+)'"),
        ("protobuf", "*_pb2.py", r"Protobuf Python Version: ([0-9.]+)"),
    ],
)
def test_users_get_a_runtime_that_generated_code_accepts(package: str, pattern: str, demand: str) -> None:
    files = list((ROOT / "client/hibana/v1").glob(pattern))
    demanded = {Version(version) for file in files for version in re.findall(demand, file.read_text(encoding="utf-8"))}
    (requirement,) = [requirement for requirement in BASE if requirement.name == package]
    (floor,) = [Version(part.version) for part in requirement.specifier if part.operator == ">="]
    assert demanded
    assert max(demanded) <= floor

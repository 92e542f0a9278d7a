"""What the documentation says about the repository is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from hibana_server.domain.executions import Outcome
from hibana_server.domain.static_limits import LARGE_LIMITS, USER_LIMITS, StaticLimits
from hibana_server.domain.tiers import DEFAULT_POLICIES, MIB, Tier
from hibana_server.sandbox.features import OFF
from hibana_server.settings.model import variables
from tests.framework.markdown import blocks, pattern

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "server/hibana_server"
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob("examples/*/*.md")]
)
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted(SERVER.rglob("*.py")))


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def rows(page: str, heading: str) -> Iterator[list[str]]:
    """Yield the cells of the tables below a heading, the tables' own heads left out."""
    section = re.split(r"^##+ ", prose(ROOT / page), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(f"{heading}\n")]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_something(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        place = (page.parent / name).resolve() if name else page
        assert place.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, target


def test_every_concept_has_its_file() -> None:
    named = [
        path for cells in rows("docs/architecture.md", "Where is what") for path in re.findall(r"`([^`]+)`", cells[1])
    ]
    assert len(named) > 30
    assert [path for path in named if not (SERVER / path).exists() and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_named_in_the_text_are_there(page: Path) -> None:
    paths = re.findall(r"`((?:server|client|proto|tests|tools|docs|examples)/[\w./-]+)`", prose(page))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_table_of_tiers_is_the_one_in_force() -> None:
    told = {cells[0]: cells for cells in rows("docs/concepts.md", "Tiers")}
    assert set(told) == set(Tier)
    for tier, policy in DEFAULT_POLICIES.items():
        memory, time, output, size, functions = told[tier][4:]
        assert memory == f"{policy.memory_bytes // MIB} MiB"
        assert time == f"{policy.timeout:g} s"
        assert output == f"{policy.output_bytes // MIB} MiB"
        assert size == f"{policy.wasm_bytes // MIB} MiB"
        # What a policy grants already but nobody serves yet is told below the table.
        assert set(re.findall(r"`([^`]+)`", functions)) == policy.host_functions - {"env.fetch"}


def test_every_threat_has_its_wall_and_tests_that_exist() -> None:
    threats = list(rows("docs/security.md", "Threats"))
    assert len(threats) > 10
    for cells in threats:
        assert all(cells)
        named = re.findall(r"`([^`]+)`", cells[-1])
        assert named, cells
        for test in named:
            file, _, function = test.partition("::")
            assert (ROOT / file).is_file(), test
            assert f"def {function}(" in (ROOT / file).read_text(encoding="utf-8") or not function, test


def test_every_outcome_is_explained() -> None:
    assert {cells[0].lower() for cells in rows("docs/concepts.md", "Executions")} == set(Outcome)


def test_every_log_event_of_the_table_is_logged() -> None:
    events = [name for cells in rows("docs/operations.md", "Logs") for name in re.findall(r"`([^`]+)`", cells[0])]
    assert len(events) > 10
    assert [event for event in events if f'"{event}"' not in SOURCES] == []


def test_every_feature_that_is_off_is_listed_with_its_reason() -> None:
    listed = [tuple(cells) for cells in rows("docs/guests.md", "Features")]
    assert listed == [(feature.title, feature.reason, feature.fix) for feature in OFF]


def test_every_static_limit_is_listed_with_its_numbers() -> None:
    listed = {cells[1].strip("`"): cells[2:] for cells in rows("docs/guests.md", "Static limits")}
    assert listed == {
        field.name: [f"{getattr(USER_LIMITS, field.name):,}", f"{getattr(LARGE_LIMITS, field.name):,}"]
        for field in fields(StaticLimits)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_settings_named_in_the_text_exist(page: Path) -> None:
    known = {".".join(path) for _, path in variables()}
    named = re.findall(r"`((?:pool|compile|log)\.[a-z_]+)`", prose(page))
    assert [name for name in named if name not in known] == []


def test_an_output_is_compared_by_its_end_and_its_gaps() -> None:
    shown = pattern('{\n  "name": "...",\n  "list": [1]\n}\n')
    assert shown.search('earlier\n{ "name": "x/y",   "list": [1] }\n')
    assert not shown.search('{ "name": "x/y", "list": [2] }')
    assert not shown.search('{ "name": "x/y", "list": [1] } more')


def test_blocks_are_found_by_their_language(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n```sh\none\n```\n```text\nskip\n```\n```sh\ntwo\n```\n", encoding="utf-8")
    assert [block.text for block in blocks(page, "sh")] == ["one\n", "two\n"]

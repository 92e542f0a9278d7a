"""The guests of examples/, built by `make examples`, do on a real server what their READMEs show."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import EXAMPLES as NAMES
from tests.framework.markdown import blocks
from tests.framework.server import Server
from tests.framework.tours import PREPARE, check
from tools.examples import EXAMPLES, ROOT, SOURCES


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a directory that has what a checkout has after `make setup`, as far as the examples go."""
    place = tmp_path_factory.mktemp("checkout")
    (place / ".venv").symlink_to(sys.prefix)
    return place


@pytest.fixture(scope="module")
def server(checkout: Path) -> Iterator[Server]:
    """Run the server that `make serve` would run there."""
    with Server(checkout / ".hibana") as running:
        yield running


# To compile CPython takes twenty seconds of a processor, and those of a machine in use are longer.
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=getattr(pytest.mark, f"needs_example_{name.replace('-', '_')}")) for name in NAMES],
)
def test_an_example_does_what_its_readme_shows(name: str, checkout: Path, server: Server) -> None:
    example = EXAMPLES[name]
    place = checkout / example.place.relative_to(ROOT)
    shutil.copytree(example.place, place, ignore=shutil.ignore_patterns("node_modules", "target"))
    build, *shown = blocks(example.readme, "sh", "text")
    assert build.text == example.commands()
    outputs = check(shown, f"{PREPARE}cd {place}\n", checkout, server, seconds=150.0)
    wanted = [block.text.splitlines() for block in shown if block.language == "text"]
    # A README may begin with what makes a token.
    outputs = [output for output in outputs if output]
    assert len(wanted) == len(outputs) > 0
    # To the letter, where pages in general are compared without regard to white space.
    for output, lines in zip(outputs, wanted, strict=True):
        for real, line in zip(output.splitlines()[-len(lines) :], lines, strict=True):
            assert re.fullmatch(re.escape(line).replace(re.escape("..."), ".+"), real), output


def test_every_example_has_its_readme_and_is_built() -> None:
    folders = {path.name for path in SOURCES.iterdir() if path.is_dir()}
    assert folders == set(EXAMPLES) == set(NAMES)
    overview = (SOURCES / "README.md").read_text(encoding="utf-8")
    for name in folders:
        assert EXAMPLES[name].commands()
        assert f"[{name}]({name})" in overview

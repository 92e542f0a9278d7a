"""The help shown in README.md and docs/ is the one the commands print."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.help_blocks import PAGES, refreshed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_help_that_is_shown_is_the_real_one(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    new, blocks = refreshed(text)
    assert blocks >= 1
    assert text == new, "run: python tools/help_blocks.py"

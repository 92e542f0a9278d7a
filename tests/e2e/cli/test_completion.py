"""TAB in a real shell, with no service anywhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.cli.conftest import COMMAND

PRESS_TAB = """
set -eu
source <(hibana completion bash)
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_hibana_completion hibana
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["mod"], ["modules"]),
        (["modules", "un"], ["undelete"]),
        (["modules", "list", "--tier", "s"], ["system"]),
        (["executions", "list", "--outcome", "t"], ["trap", "timeout"]),
        (["keys", ""], ["create", "list", "revoke"]),
        (["keys", "create", "--role", "s"], ["service"]),
        (["run", "--prof"], ["--profile"]),
        (["run", "--profile", "d"], ["dev"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
    ],
    ids=" ".join,
)
def test_tab_completes_in_bash(words: list[str], offered: list[str], tmp_path: Path) -> None:
    config = tmp_path / "hibana/config.toml"
    config.parent.mkdir()
    config.write_text('[profiles.dev]\naddress = "127.0.0.1:1"\n[profiles.prod]\naddress = "127.0.0.1:1"\n')
    pressed = subprocess.run(
        ["bash", "-c", PRESS_TAB, "bash", "hibana", *words],
        env={"PATH": f"{COMMAND.parent}:{os.environ['PATH']}", "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (pressed.returncode, pressed.stderr) == (0, "")
    assert pressed.stdout.split() == offered


@pytest.mark.parametrize(("shell", "start"), [("zsh", "#compdef hibana"), ("fish", "complete --command hibana")])
def test_other_shells_get_a_script_too(shell: str, start: str) -> None:
    script = subprocess.run([COMMAND, "completion", shell], capture_output=True, text=True, check=True, timeout=30)
    assert script.stdout.startswith(start)

"""`make examples` builds by what a README shows, anew only what has changed, and says what a machine lacks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import examples, rust_targets
from tools.examples import Example, Package
from tools.rust_targets import Target

PAGE = "# One\n\n## Build\n\nWith cp.\n\n```sh\nmkdir -p build\ncp main build/\n```\n\n## Run\n\n```sh\nfalse\n```\n"
BUILD = "cargo build --release --target wasm32-wasip1\ncp target/wasm32-wasip1/release/words.wasm build/\n"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Example:
    monkeypatch.setattr(examples, "SOURCES", tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "one/README.md").write_text(PAGE, encoding="utf-8")
    (tmp_path / "one/main").write_text("1", encoding="utf-8")
    return Example("one", (Package("no_such_module", "no-such-package"),))


def test_an_example_is_built_as_its_readme_shows_until_its_sources_change(example: Example) -> None:
    assert not example.ready()
    example.build()
    assert (example.place / "build/main").read_text(encoding="utf-8") == "1"
    assert example.ready()
    (example.place / "node_modules").mkdir()
    (example.place / "node_modules/other").touch()
    example.readme.write_text(PAGE + "More words.\n", encoding="utf-8")
    assert example.ready()
    (example.place / "main").write_text("2", encoding="utf-8")
    assert not example.ready()


def test_other_commands_build_it_anew(example: Example) -> None:
    example.build()
    example.readme.write_text(PAGE.replace("mkdir", "echo; mkdir"), encoding="utf-8")
    assert not example.ready()


def test_a_readme_without_commands_is_no_example(example: Example) -> None:
    example.readme.write_text("# One\n\n## Run\n\n```sh\nfalse\n```\n", encoding="utf-8")
    with pytest.raises(ValueError, match="below the heading Build"):
        example.commands()


def test_a_missing_package_is_told_with_the_command_that_brings_it(example: Example) -> None:
    (lack,) = example.lacks()
    assert "there is no no-such-package: " in lack
    assert "pip install -c constraints.txt no-such-package" in lack


def make_all(example: Example, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(examples, "EXAMPLES", {"one": example})
    monkeypatch.setattr(examples, "ROOT", example.place.parent)
    monkeypatch.setattr("sys.argv", ["examples", *arguments])
    return examples.main()


def test_what_lacks_its_toolchain_fails_only_where_it_is_asked_for(
    example: Example, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_all(example, monkeypatch=monkeypatch) == 0
    assert make_all(example, "one", monkeypatch=monkeypatch) == 1
    assert capsys.readouterr().out.count("one: not built: there is no no-such-package") == 2


def test_a_build_that_fails_is_told_with_its_readme(
    example: Example, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example.readme.write_text(PAGE.replace("cp main build/", "exit 3"), encoding="utf-8")
    assert make_all(Example("one", ()), monkeypatch=monkeypatch) == 1
    assert "one: not built: a command of one/README.md failed with 3" in capsys.readouterr().out


def test_commands_for_the_rust_at_hand_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "_at_hand", lambda _: True)
    target = Target("wasm32-wasip1")
    assert target.lack() is None
    assert target.adapt(BUILD) == BUILD


def test_the_rust_of_the_system_builds_from_sources_that_the_cargo_at_hand_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Target, "_at_hand", lambda _: False)
    monkeypatch.setattr(rust_targets, "SYSTEM_LIBRARIES", tmp_path)
    monkeypatch.setattr(rust_targets, "SYSTEM_CARGO", tmp_path / "cargo")
    target = Target("wasm32-wasip1")
    assert "`rustup target add wasm32-wasip1`" in (target.lack() or "")
    assert target.adapt(BUILD) == BUILD

    (tmp_path / "cargo").touch()
    (tmp_path / "wasm32-wasi/lib").mkdir(parents=True)
    (tmp_path / "wasm32-wasi/lib/libstd-1.rlib").touch()
    assert target.lack() is None
    adapted = target.adapt(BUILD)
    assert "cargo vendor" in adapted
    assert "build --offline" in adapted
    assert "wasm32-wasip1" not in adapted


def test_wasm_bindgen_is_of_one_version() -> None:
    pinned = re.compile(r'^wasm-bindgen[a-z-]* = "=([0-9.]+)"', re.MULTILINE)
    tables = [examples.ROOT / "examples/rust/Cargo.toml", examples.ROOT / "tools/wasm-bindgen/Cargo.toml"]
    versions = {found for table in tables for found in pinned.findall(table.read_text(encoding="utf-8"))}
    assert len(versions) == 1
    assert f"wasm-bindgen-cli@{versions.pop()}`" in examples.BINDGEN.enable

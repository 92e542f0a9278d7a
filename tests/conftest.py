"""Settings of the whole suite: what tests may need besides Python, and what becomes of tests whose need is missing.

A test says `@pytest.mark.needs_grpcurl`. Where grpcurl is missing the test is skipped, and the summary tells how to
enable it. With HIBANA_REQUIRE_ALL=1, as in .ci/run, every skipped test is a failure.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass

import pytest
from hypothesis import settings

from hibana_server.sandbox.walls import landlock
from hibana_server.sandbox.walls.seccomp import SeccompError, compile_filter

REQUIRE_ALL = os.environ.get("HIBANA_REQUIRE_ALL") == "1"

# How long one example takes says more about the machine than about the code; the timeout of each test is the guard.
settings.register_profile("hibana", settings(), deadline=None)
settings.load_profile("hibana")


def offers(wall: Callable[[], object]) -> Callable[[], bool]:
    """Make a check from a function that fails where this machine lacks something."""

    def check() -> bool:
        try:
            wall()
        except (OSError, SeccompError):
            return False
        return True

    return check


@dataclass(frozen=True, slots=True)
class Need:
    """Something outside of Python that some tests cannot do without."""

    what: str
    """Completes the sentence "needs ...", for the marker's help and the reason of a skip."""
    present: Callable[[], bool]
    """Tells whether this machine has it; called once a session."""
    enable: str
    """One command that brings it."""

    @property
    def reason(self) -> str:
        """Say why a test is skipped and how to enable it."""
        return f"needs {self.what}: enable with `{self.enable}`; .ci/run always runs it"


def _corpus_present() -> bool:
    from tools import corpus  # where this file is tried on its own there are no tools, and nothing needs them

    return corpus.present()


def _modules_present() -> bool:
    from tools import modules

    return modules.present()


def _interop_ready(project: str) -> Callable[[], bool]:
    def check() -> bool:
        from tools import interop

        return interop.PROJECTS[project].ready()

    return check


def _example_built(name: str) -> Callable[[], bool]:
    def check() -> bool:
        from tools import examples

        return examples.EXAMPLES[name].ready()

    return check


EXAMPLES = ("assemblyscript", "c", "go", "javascript", "python", "rust", "rust-wasi")
"""The folders of examples/ that `tools/examples.py` builds."""

NEEDS = {
    **{
        f"needs_example_{name.replace('-', '_')}": Need(
            f"examples/{name}, built", _example_built(name), f"make examples ARGS={name}"
        )
        for name in EXAMPLES
    },
    "needs_corpus": Need("the WebAssembly test suite", _corpus_present, "make corpus"),
    "needs_go": Need("the Go client of tests/interop", _interop_ready("go"), "make interop"),
    "needs_grpcurl": Need("grpcurl", lambda: shutil.which("grpcurl") is not None, "make tools"),
    "needs_java": Need("the Java client of tests/interop", _interop_ready("java"), "make interop"),
    "needs_landlock": Need("a kernel with Landlock", offers(landlock.abi), "hibana-server doctor"),
    "needs_modules": Need("modules of others", _modules_present, "make modules"),
    "needs_node": Need("the TypeScript client of tests/interop", _interop_ready("typescript"), "make interop"),
    "needs_rust": Need("the Rust client of tests/interop", _interop_ready("rust"), "make interop"),
    "needs_seccomp": Need("libseccomp and seccomp", offers(compile_filter), "apt-get install libseccomp2"),
}


def pytest_configure(config: pytest.Config) -> None:
    """Declare a marker for each need, and let all processes of a run be alike."""
    # Drawn once for them all: each collects the tests for itself, and must find the same.
    os.environ.setdefault("HIBANA_TORTURE_SEED", str(random.SystemRandom().randrange(10**9)))
    if hasattr(config, "workerinput"):
        # The processes among which the tests are divided ignore Ctrl-C, and what they start would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for marker, need in NEEDS.items():
        config.addinivalue_line("markers", f"{marker}: needs {need.what} ({need.enable})")


LONG_FIRST = ("e2e/durability", "integration/compile", "hostile", "e2e", "interop", "integration")
"""Where tests take long, longest first: of several processes none shall begin the longest file at the end."""


def rank(item: pytest.Item) -> int:
    """Return the place of a test's folder among those that take long; the others come after them."""
    folder = item.path.parent.as_posix() + "/"
    return next((place for place, long in enumerate(LONG_FIRST) if f"/tests/{long}/" in folder), len(LONG_FIRST))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first, and skip the tests whose need this machine lacks."""
    items.sort(key=rank)
    asked = {marker for marker in NEEDS if any(item.get_closest_marker(marker) for item in items)}
    lacking = {marker: need for marker, need in NEEDS.items() if marker in asked and not need.present()}
    for item in items:
        for marker, need in lacking.items():
            if item.get_closest_marker(marker) is not None:
                item.add_marker(pytest.mark.skip(reason=need.reason))


def skip_reason(report: pytest.CollectReport | pytest.TestReport) -> str | None:
    """Return why a report counts as skipped, or None when it does not; an expected failure is no skip."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    return report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)


def forbid_skip(report: pytest.CollectReport | pytest.TestReport) -> None:
    """Turn a skip into a failure where everything has to run."""
    reason = skip_reason(report)
    if REQUIRE_ALL and reason is not None:
        report.outcome = "failed"
        report.longrepr = f"skipped although HIBANA_REQUIRE_ALL=1: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge the skips of single tests."""
    report = yield
    forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge the skips of whole files."""
    report = yield
    forbid_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each reason why tests were skipped."""
    reasons = Counter(skip_reason(report) for report in terminalreporter.stats.get("skipped", []))
    for reason, count in sorted(reasons.items(), key=str):
        terminalreporter.write_line(f"{count} not run: {reason}", yellow=True)

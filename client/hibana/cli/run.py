"""`hibana run`."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import hibana
from hibana.cli import exits, options
from hibana.cli.command import command
from hibana.cli.files import given, wanted
from hibana.cli.inputs import argument, byte_size, duration, file_bytes, pairs
from hibana.cli.output import print_json, print_text
from hibana.cli.running import Call, execute, start
from hibana.cli.session import Session


class RunCommand(TyperCommand):
    """A command whose last arguments may begin with `-`: `hibana run user/math add -5 3`.

    What looks like a number is a value everywhere. After REF and FUNCTION, so is every other
    unknown word, but for one that looks like a mistyped option.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put values behind `--`, then parse as usual."""
        chosen, values = _split(args, *self._option_names(ctx))
        return super().parse_args(ctx, [*chosen, "--", *values])

    def _option_names(self, ctx: Any) -> tuple[set[str], set[str]]:
        """Return the names of options that take a value and of those that take none."""
        valued: set[str] = set()
        flags: set[str] = set()
        for parameter in self.get_params(ctx):
            if parameter.param_type_name == "option":
                alone = getattr(parameter, "is_flag", False) or getattr(parameter, "count", False)
                (flags if alone else valued).update([*parameter.opts, *parameter.secondary_opts])
        return valued, flags


def _split(args: list[str], valued: set[str], flags: set[str]) -> tuple[list[str], list[str]]:
    """Split a command line into options with their values, and positional words."""
    chosen: list[str] = []
    words: list[str] = []
    rest = iter(args)
    for word in rest:
        if word == "--":
            words += rest
        elif word in flags or (word.startswith("--") and word.partition("=")[0] in valued and "=" in word):
            chosen.append(word)
        elif word in valued:
            value = next(rest, None)  # without one, the parser says so
            chosen += [word] if value is None else [word, value]
        elif word == "-" or not word.startswith("-") or _is_number(word):
            words.append(word)
        elif len(words) < 2:
            chosen.append(word)  # unknown: the parser says so and suggests
        else:
            _refuse_mistyped(word, valued | flags)
            words.append(word)
    return chosen, words


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _refuse_mistyped(word: str, known: set[str]) -> None:
    name = word.partition("=")[0]
    close = difflib.get_close_matches(name, [n for n in known if n.startswith("--")], n=1, cutoff=0.8)
    if name.startswith("--") and close:
        raise typer.BadParameter(f"no option {name}; did you mean {close[0]}? To pass it as a value, write it after --")


RUN_EXAMPLES = """Examples:

hibana run user/math add -5 3

hibana run user/hello greet '"world"'

hibana run user/oxipng optimise @in.png 2 false false --output out.png

hibana run user/cat --stdin notes.txt --timeout 2s

hibana run user/report --detach

hibana run user/resvg --argv - --argv -c --stdin in.svg --output out.png

hibana run user/resvg --argv /in.svg --argv /out.png --file in.svg --file photo.png --output-file out.png
"""


async def _arguments(client: hibana.Client, ref: str, function: str, typed: Sequence[str]) -> tuple[Any, ...]:
    """Read arguments. Where their meaning hangs on the function's types, ask for these; the run tells what is wrong."""
    types: tuple[str, ...] = ()
    if any(each.startswith(("@", "[", "{")) for each in typed):
        with contextlib.suppress(hibana.HibanaError):
            exports = (await client.version(ref)).exports
            types = next((tuple(p.type for p in each.parameters) for each in exports if each.name == function), ())
    return tuple(argument(*each) for each in zip_longest(typed, types[: len(typed)], fillvalue=""))


@command
async def run_command(  # noqa: PLR0913 - the options of the command
    session: Session,
    ref: options.Ref,
    function: Annotated[str, typer.Argument(metavar="FUNCTION", help="Exported function.")] = "_start",
    args: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARG", help="JSON (5, true, [1,2]) or text; @FILE for a file's bytes or text."),
    ] = None,
    *,
    stdin: Annotated[str | None, typer.Option("--stdin", metavar="FILE|-", help="Standard input of the guest.")] = None,
    argv: Annotated[list[str] | None, typer.Option("--argv", help="Program argument (WASI). Repeatable.")] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="KEY=VALUE", help="Environment variable (WASI). Repeatable.")
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", metavar="NAME=PATH", help="A file for the guest, read only (WASI). Repeatable."),
    ] = None,
    output_file: Annotated[
        list[str] | None,
        typer.Option("--output-file", metavar="NAME[=PATH]", help="A file that the guest leaves (WASI). Repeatable."),
    ] = None,
    timeout: Annotated[str | None, typer.Option("--timeout", help="Time limit below the module's, e.g. 2s.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Memory limit below the module's, e.g. 10MiB.")] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="FILE", help="Write the guest's stdout, or bytes it returns, here."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Let the guest's control characters reach the terminal.")] = False,
    request_id: Annotated[str, typer.Option("--request-id", help="Run once, however often this is called.")] = "",
    sensitive_input: Annotated[
        bool, typer.Option("--sensitive-input", help="Keep what is passed in out of the record.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return at once with the execution's name; the run goes on.")
    ] = False,
) -> int:
    """Run a function of a module; its output comes as it is written.

    The guest's stdout goes to stdout byte for byte; on a terminal, control
    characters are spelled out. The function's results follow, one to a line.

    With --json, one object is printed for each event. Ctrl-C kills the guest.
    Exit code 1 tells that the guest failed.

    A WASI program finds the files of --file below / in a directory of this run
    alone; what it leaves there under the names of --output-file is written here.

    With --detach, the execution's name is printed (its record with --json), and
    `hibana executions watch` shows what happens, now or later.
    """
    if detach and output is not None:
        raise typer.BadParameter("--output belongs to `hibana executions watch` when the run is detached")
    if detach and any("=" in item for item in output_file or ()):
        raise typer.BadParameter("name no place for a file when the run is detached: `executions watch` writes it")
    call = Call(
        ref=ref,
        function=function,
        args=await _arguments(session.client, ref, function, args or ()),
        argv=tuple(argv or ()),
        env=pairs(env or (), "a variable"),
        stdin=b"" if stdin is None else file_bytes(stdin),
        timeout=duration(timeout),
        memory=byte_size(memory),
        request_id=request_id,
        sensitive_input=sensitive_input,
        files=given(file or ()),
        outputs=wanted(output_file or ()),
    )
    if detach:
        begun = await start(session.client, call)
        if session.as_json:
            print_json(begun)
        else:
            print_text(begun.name)
        return exits.OK
    return await execute(session.client, call, as_json=session.as_json, raw=raw, output=output)

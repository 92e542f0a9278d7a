"""`hibana upload` and `hibana inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

import hibana
from hibana.cli import options, output
from hibana.cli.command import command
from hibana.cli.inputs import pairs, text_file
from hibana.cli.progress import upload_progress
from hibana.cli.session import Session
from hibana.cli.tables import print_findings, print_version
from hibana.cli.text import seconds, size

UPLOAD_EXAMPLES = """Examples:

hibana upload add.wasm --name add --version 1.0.0

hibana upload tool.wasm --name tool --version 2 --allow bob --no-publish

hibana upload pkg/lib_bg.wasm --types pkg/lib.d.ts --name lib --version 1
"""

Types = Annotated[
    str | None,
    typer.Option("--types", metavar="FILE", help="Types the module does not carry: its .d.ts, or signatures."),
]
File = Annotated[str, typer.Argument(metavar="FILE", help="A WebAssembly module.")]


@command
async def upload_command(  # noqa: PLR0913 - the options of the command
    session: Session,
    file: File,
    *,
    name: Annotated[str, typer.Option("--name", help="Name of the module: a-z, 0-9 and -.")],
    version: Annotated[str, typer.Option("--version", help="Label of this version, e.g. 1.0.0.")],
    tier: options.TierOption = "user",
    public: Annotated[bool, typer.Option("--public", help="Let every authenticated caller run it.")] = False,
    sensitive_input: Annotated[
        bool, typer.Option("--sensitive-input", help="Keep callers' input out of their records.")
    ] = False,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="USER", help="Let this caller run it. Repeatable.")
    ] = None,
    no_publish: Annotated[bool, typer.Option("--no-publish", help="Do not make this the live version.")] = False,
    description: Annotated[str, typer.Option("--description", help="Text for people.")] = "",
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Label of the module. Repeatable.")
    ] = None,
    types: Types = None,
) -> None:
    """Store a version of a module; returns when it is compiled.

    The module is made when it is new; --public, --allow, --description and
    --label count then only. The same version with the same bytes may be
    uploaded again.

    --types names the .d.ts of wasm-bindgen or AssemblyScript, or a list of
    signatures such as `greet: func(name: string) -> string`.
    """
    labels = pairs(label or (), "a label")

    with upload_progress(quiet=session.as_json) as progress:
        answer = await session.client.upload(
            file,
            name=name,
            version=version,
            tier=tier,
            public=public,
            sensitive_input=sensitive_input,
            allowed_users=allow or (),
            labels=labels,
            description=description,
            publish=not no_publish,
            types=text_file(types),
            progress=progress,
        )
    if session.as_json:
        output.print_json(answer)
    else:
        _tell_upload(answer)


def _tell_upload(answer: hibana.Upload) -> None:
    version = answer.version
    how = f"compiled in {seconds(answer.compile_time)}" if answer.compile_time else "compiled before"
    did = "was there already" if answer.existed else "stored"
    reference = f"{answer.module.reference}@{version.version}"
    output.print_text(f"{reference} {did}: {size(version.wasm_size_bytes)}, {how}, {version.convention.value}")
    if version.runnable and answer.module.live_version != version.version:
        live = answer.module.live_version or "none"
        output.print_text(f"not the live version (live: {live}); run it as {reference}")
    print_findings(version)
    if not version.runnable:
        output.print_note("next: do what the findings say, and upload the new build; this one cannot run")
    else:
        ref = answer.module.reference if answer.module.live_version == version.version else reference
        output.print_note(f"next: hibana {_example(ref, version)}")


def _example(reference: str, version: hibana.ModuleVersion) -> str:
    """Spell what runs a program, or the first function of its own that a module has; a session where all need one.

    Where there is nothing to call, what tells why.
    """
    functions = [e for e in version.exports if e.callable]
    if not functions or any(e.name == "_start" for e in functions):
        return f"run {reference}"
    # What a toolchain exports for itself begins with an underscore.
    own = [e for e in functions if not e.name.startswith("_") and not _on_objects(e)]
    if not own:
        return f"session {reference}" if any(map(_on_objects, functions)) else f"modules show {reference}"
    shown = next((e for e in own if e.convention is not hibana.Convention.CORE), own[0])
    return " ".join(["run", reference, shown.name, *(p.name.upper() for p in shown.parameters)])


def _on_objects(export: hibana.Export) -> bool:
    """Tell whether a function takes or returns objects, which live in a session."""
    types = (*(p.type for p in export.parameters), *export.results)
    return any("own<" in each or "borrow<" in each for each in types)


@command
async def inspect_command(
    session: Session, file: File, *, tier: options.TierOption = "user", types: Types = None
) -> None:
    """Tell what an upload of this file would tell, and store nothing."""
    with upload_progress(quiet=session.as_json) as progress:
        answer = await session.client.inspect(file, tier=tier, types=text_file(types), progress=progress)
    if session.as_json:
        output.print_json({"version": answer.version, "compile_time": answer.compile_time})
    else:
        print_version(answer.version, stored=False)

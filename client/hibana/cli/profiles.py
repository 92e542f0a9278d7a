"""`hibana profiles`: named ways to reach a service, kept in a file."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from hibana.cli import exits, options, output
from hibana.cli.completion import profile_names
from hibana.errors import ConfigError, HibanaError

profiles = typer.Typer(no_args_is_help=True, help="Name ways to reach a service: address, token, TLS.")

SET_EXAMPLES = """Examples:

hibana profiles set dev --address 127.0.0.1:50051 --token-file ~/dev.token --default

echo "$HIBANA_TOKEN" | hibana profiles set prod --address https://hibana.example --token -
"""

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the profile.", autocompletion=profile_names)]


@profiles.command("list")
def list_command(*, as_json: options.AsJson = False) -> None:
    """List the profiles. Their tokens are not shown."""
    default, found = _read(as_json=as_json)
    shown = [{"name": name, "default": name == default, **_without_token(found[name])} for name in sorted(found)]
    if as_json:
        output.print_json({"file": str(_path()), "items": shown})
        return
    rows = [
        ("*" if each["default"] else "", each["name"], str(each.get("address", "")), _source(found[each["name"]]))
        for each in shown
    ]
    output.print_table(f"profiles of {_path()}", ("", "profile", "address", "token"), rows)
    if not rows:
        output.print_note(
            "no profiles yet; next: hibana profiles set dev --address HOST:PORT --token-file FILE --default"
        )


@profiles.command("set", epilog=SET_EXAMPLES)
def set_command(  # noqa: PLR0913 - the options of the command
    name: Name,
    *,
    address: Annotated[str, typer.Option("--address", help="host:port, https://host:port or unix:/path.")],
    token: Annotated[str, typer.Option("--token", help="Token or API key; - reads it from stdin.")] = "",
    token_file: Annotated[
        str, typer.Option("--token-file", metavar="FILE", help="File with the token or API key.")
    ] = "",
    ca_file: Annotated[str, typer.Option("--ca-file", metavar="FILE", help="TLS: root certificates.")] = "",
    cert_file: Annotated[str, typer.Option("--cert-file", metavar="FILE", help="Mutual TLS: certificate.")] = "",
    key_file: Annotated[str, typer.Option("--key-file", metavar="FILE", help="Mutual TLS: its key.")] = "",
    server_name: Annotated[str, typer.Option("--server-name", help="TLS: name in the server's certificate.")] = "",
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow the token in clear to another machine.")] = False,
    default: Annotated[bool, typer.Option("--default", help="Use it when no profile is named.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Make a profile, or replace it. The file is private (0600); comments in it are not kept."""
    if token and token_file:
        raise typer.BadParameter("--token and --token-file exclude each other")
    given = {
        "address": address,
        "token": _given(token),
        "token_file": _absolute(token_file),
        "ca_file": _absolute(ca_file),
        "cert_file": _absolute(cert_file),
        "key_file": _absolute(key_file),
        "server_name": server_name,
        "insecure": insecure,
    }
    before, found = _read(as_json=as_json)
    kept = {key: value for key, value in given.items() if value}
    _check(kept, as_json=as_json)
    _write(name if default else before, {**found, name: kept}, as_json=as_json)
    if as_json:
        output.print_json({"name": name, "default": default or before == name, **_without_token(kept)})
    else:
        output.print_text(f"profile {name} is in {_path()}")
        # The environment wins over the default profile, but not over a named one.
        used = (default or before == name) and not {"HIBANA_ADDRESS", "HIBANA_PROFILE"} & os.environ.keys()
        output.print_note("next: hibana modules list" + ("" if used else f" --profile {name}"))


@profiles.command("remove", epilog="Example: hibana profiles remove dev")
def remove_command(name: Name, *, as_json: options.AsJson = False) -> None:
    """Remove a profile."""
    default, found = _read(as_json=as_json)
    if name not in found:
        _fail(ConfigError(f"{_path()} has no profile {name!r}"), as_json=as_json)
    rest = {other: profile for other, profile in found.items() if other != name}
    _write("" if default == name else default, rest, as_json=as_json)
    if as_json:
        output.print_json({"name": name})
    else:
        output.print_text(f"profile {name} is removed")


def _given(text: str) -> str:
    """Return the text, or what standard input holds for `-`."""
    return sys.stdin.read().strip() if text == "-" else text


def _path() -> Path:
    from hibana.profiles import profile_path  # noqa: PLC0415 - only these commands need it

    return profile_path(os.environ)


def _read(*, as_json: bool) -> tuple[str, Mapping[str, Mapping[str, Any]]]:
    """Return the default profile and all profiles."""
    from hibana.profiles import read  # noqa: PLC0415 - as above

    try:
        file = read(os.environ)
        if file is None:
            return "", {}
        return file.default, {name: file.get(name) for name in file.profiles}
    except HibanaError as error:
        _fail(error, as_json=as_json)


def _check(profile: Mapping[str, Any], *, as_json: bool) -> None:
    """Refuse what could not be used: a profile is made once and used for long."""
    from hibana.config import of_profile  # noqa: PLC0415 - as above

    try:
        of_profile(profile)
    except HibanaError as error:
        _fail(error, as_json=as_json)


def _write(default: str, found: Mapping[str, Mapping[str, Any]], *, as_json: bool) -> None:
    # JSON's strings are TOML's basic strings, but for DEL, which TOML wants escaped.
    lines = [f"default_profile = {_quoted(default)}", ""] if default else []
    for name, profile in sorted(found.items()):
        lines += [f"[profiles.{_quoted(name)}]"]
        lines += [f"{key} = {_quoted(value)}" for key, value in profile.items()]
        lines += [""]
    path = _path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".config.", dir=path.parent)  # mkstemp's files are 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        _fail(ConfigError(f"{path} cannot be written: {error.strerror or error}"), as_json=as_json)


def _quoted(value: str | bool) -> str:  # noqa: FBT001 - one of the two kinds there are
    return json.dumps(value).replace("\x7f", "\\u007f")


def _absolute(path: str) -> str:
    """Return a path that means the same from every directory."""
    return str(Path(path).expanduser().absolute()) if path else ""


def _without_token(profile: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in profile.items() if key != "token"}


def _source(profile: Mapping[str, Any]) -> str:
    return "in the file" if profile.get("token") else str(profile.get("token_file", ""))


def _fail(error: HibanaError, *, as_json: bool) -> NoReturn:
    from hibana.cli.session import report  # noqa: PLC0415 - as above

    report(error, as_json=as_json)
    raise typer.Exit(exits.exit_code(error))

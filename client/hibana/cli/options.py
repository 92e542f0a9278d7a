"""Options and arguments that several commands take."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from hibana.cli.completion import profile_names, words

_CONNECTION = "Connection"

Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="host:port, https://host:port or unix:/path. Default: HIBANA_ADDRESS, else 127.0.0.1:50051.",
        rich_help_panel=_CONNECTION,
    ),
]
Token: TypeAlias = Annotated[
    str | None,
    typer.Option("--token", help="Bearer token or API key. Default: HIBANA_TOKEN.", rich_help_panel=_CONNECTION),
]
TokenFile: TypeAlias = Annotated[
    str | None,
    typer.Option("--token-file", metavar="FILE", help="File with the token or API key.", rich_help_panel=_CONNECTION),
]
Profile: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Profile of ~/.config/hibana/config.toml. Default: HIBANA_PROFILE.",
        rich_help_panel=_CONNECTION,
        autocompletion=profile_names,
    ),
]
CaFile: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--ca-file", metavar="FILE", help="TLS: root certificates instead of the system's.", rich_help_panel=_CONNECTION
    ),
]
CertFile: TypeAlias = Annotated[
    str | None,
    typer.Option("--cert-file", metavar="FILE", help="Mutual TLS: certificate to show.", rich_help_panel=_CONNECTION),
]
KeyFile: TypeAlias = Annotated[
    str | None,
    typer.Option("--key-file", metavar="FILE", help="Mutual TLS: its key.", rich_help_panel=_CONNECTION),
]
Insecure: TypeAlias = Annotated[
    bool,
    typer.Option("--insecure", help="Send the token in clear text to another machine.", rich_help_panel=_CONNECTION),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Ref: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="REF", help="user/NAME, user/OWNER/NAME, system/NAME, admin/NAME or modules/UID; @VERSION may follow."
    ),
]
VersionRef: TypeAlias = Annotated[
    str, typer.Argument(metavar="REF@VERSION", help="The version: user/NAME@VERSION, modules/UID/versions/VERSION ...")
]
ExecutionName: TypeAlias = Annotated[str, typer.Argument(metavar="EXECUTION", help="executions/UID, or the UID alone.")]
TierOption: TypeAlias = Annotated[
    str, typer.Option("--tier", help="user, admin or system.", autocompletion=words("user", "admin", "system"))
]
Limit: TypeAlias = Annotated[int, typer.Option("--limit", min=0, help="Most items to list; 0 lists all.")]
Since: TypeAlias = Annotated[
    str | None, typer.Option("--since", help="Only of the last 10m, 2h, 7d ..., or from a time on.")
]
Until: TypeAlias = Annotated[
    str | None, typer.Option("--until", help="Only what is older than 10m, 2h, 7d ..., or before a time.")
]
PageToken: TypeAlias = Annotated[
    str, typer.Option("--page-token", metavar="TOKEN", help="Go on where the last one was cut off.")
]
Etag: TypeAlias = Annotated[
    str, typer.Option("--etag", help="Refuse if the module has changed since it had this etag.")
]


def without_version(ref: str) -> str:
    """Return the module a reference speaks of. An owner's `@` is percent-encoded, so the last one is the version's."""
    if ref.startswith("modules/"):
        return "/".join(ref.split("/")[:2])
    return ref.rpartition("@")[0] or ref

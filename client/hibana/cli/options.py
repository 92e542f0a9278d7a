"""Options that every command takes."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

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
    typer.Option("--token", help="Bearer token. Default: HIBANA_TOKEN.", rich_help_panel=_CONNECTION),
]
Profile: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Profile of ~/.config/hibana/config.toml. Default: HIBANA_PROFILE.",
        rich_help_panel=_CONNECTION,
    ),
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
ExecutionName: TypeAlias = Annotated[str, typer.Argument(metavar="EXECUTION", help="executions/UID, or the UID alone.")]
TierOption: TypeAlias = Annotated[str, typer.Option("--tier", help="user, admin or system.")]
Limit: TypeAlias = Annotated[int, typer.Option("--limit", min=0, help="Most items to list; 0 lists all.")]

"""What every command has in common: its options, its client, its exit code."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec

import typer

from hibana.cli import options
from hibana.cli.session import Connect, Session, with_client

P = ParamSpec("P")


def _common(as_json: options.AsJson = False) -> None:  # noqa: FBT002 - typer reads signatures
    """Hold the options of every command; only the signature is used."""


def _connection(
    address: options.Address = None,
    token: options.Token = None,
    token_file: options.TokenFile = None,
    profile: options.Profile = None,
    ca_file: options.CaFile = None,
    cert_file: options.CertFile = None,
    key_file: options.KeyFile = None,
    insecure: options.Insecure = False,  # noqa: FBT002 - as above
) -> None:
    """Hold the options that say how to connect; only the signature is used."""


_COMMON = [
    parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    for holder in (_common, _connection)
    for parameter in inspect.signature(holder, eval_str=True).parameters.values()
]


def command(
    function: Callable[Concatenate[Session, P], Coroutine[Any, Any, int | None]],
) -> Callable[..., None]:
    """Make a command of a coroutine function whose first parameter is the session.

    Its other parameters are the command's own options, those of `_COMMON` follow. What it returns
    is the exit code; None is 0.
    """
    own = inspect.signature(function, eval_str=True)

    @functools.wraps(function)
    def run(**given: Any) -> None:
        connect = Connect(**{parameter.name: given.pop(parameter.name) for parameter in _COMMON})
        work: Callable[..., Coroutine[Any, Any, int | None]] = function
        raise typer.Exit(with_client(connect, lambda session: work(session, **given)))

    parameters = [*list(own.parameters.values())[1:], *_COMMON]
    run.__signature__ = own.replace(  # type: ignore[attr-defined] # typer reads it
        parameters=parameters, return_annotation=None
    )
    return run

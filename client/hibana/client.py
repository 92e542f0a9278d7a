"""The client: one object for everything the service offers."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from hibana import config
from hibana.audit import AuditCalls
from hibana.changes import ChangeCalls
from hibana.connection import DEFAULT_TIMEOUT, Connection
from hibana.downloads import DownloadCalls
from hibana.executions import ExecutionCalls
from hibana.history import HistoryCalls
from hibana.keys import KeyCalls
from hibana.modules import ModuleCalls
from hibana.quotas import QuotaCalls
from hibana.raw import RawCalls
from hibana.session_calls import SessionCalls
from hibana.signatures import Signatures
from hibana.tokens import Token


class Client(
    ModuleCalls,
    ChangeCalls,
    DownloadCalls,
    ExecutionCalls,
    SessionCalls,
    HistoryCalls,
    QuotaCalls,
    KeyCalls,
    AuditCalls,
    RawCalls,
):
    """Talk to a Hibana service.

    async with hibana.Client("127.0.0.1:50051", token=token) as client:
        await client.upload("add.wasm", name="add", version="1.0.0")
        result = await client.run("user/add", "add", 2, 3)

    What is not given comes from HIBANA_ADDRESS, HIBANA_TOKEN (a token or an API key), or a profile
    (see `hibana.config`). The connection opens at the first call; `close()` or the end of `async with` closes it. One
    client serves many calls at the same time, within one event loop. `hibana.SyncClient` is the
    same for code without one.
    """

    def __init__(  # noqa: PLR0913 - a keyword for each thing that can be set
        self,
        address: str | None = None,
        *,
        token: Token | None = None,
        profile: str | None = None,
        tls: bool | None = None,
        insecure: bool | None = None,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        server_name: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """Gather the settings; nothing is sent. Raises ConfigError.

        `address`: `host:port`, `https://host:port` (TLS) or `unix:/path`. `token`: a token
        or an API key as text, a `hibana.TokenFile`, or a function (see `hibana.tokens`). `tls`: encrypt whatever the
        address says. `insecure`: allow a token in clear to another machine. `ca_file`: root
        certificates in PEM instead of the system's. `cert_file` and `key_file`: this client's
        certificate for mutual TLS. `server_name`: what the server's certificate calls it, where
        the address says otherwise. `timeout`: seconds a call may take that names no other and
        runs no guest.
        """
        settings = config.load(
            address=address,
            token=token,
            profile=profile,
            tls=tls,
            insecure=insecure,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            server_name=server_name,
        )
        self._connection = Connection(settings, timeout=timeout)
        self._signatures = Signatures(self._connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; what still runs is cancelled. Safe to call twice."""
        await self._connection.close()

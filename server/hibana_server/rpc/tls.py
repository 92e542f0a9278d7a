"""TLS of the gRPC port: certificates from files, taken anew when they are renewed, and who the other side is."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TypeAlias, cast

import grpc
import structlog

from hibana_server.domain.errors import Invalid

LOOK_SECONDS = 1.0
"""Seconds between two looks at the files."""
_SPIFFE, _ALTERNATIVE, _COMMON = "peer_spiffe_id", "x509_subject_alternative_name", "x509_common_name"
"""Properties of an authenticated peer, in the order in which they name it."""

Credentials: TypeAlias = grpc.ServerCredentials

log = structlog.get_logger("hibana.tls")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files."""

    certificate: Path
    """The server's certificate, with intermediate ones behind it."""
    key: Path
    client_ca: Path | None
    """Whose certificates callers must show; None asks for none."""

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read the files. Raises Invalid that names the file and what is wrong with it."""
        certificate, key = _read(self.certificate), _read(self.key)
        authority = _read(self.client_ca) if self.client_ca is not None else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            raise Invalid(f"tls: {self.certificate} and {self.key} are no certificate and its key: {error}") from None
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError as error:
                raise Invalid(f"tls: {self.client_ca} holds no certificates: {error}") from None
        return grpc.ssl_server_certificate_configuration([(key, certificate)], authority)

    def stamps(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes with the files; empty while one of them is missing."""
        paths = [self.certificate, self.key, *([self.client_ca] if self.client_ca is not None else [])]
        try:
            stats = [path.stat() for path in paths]
        except OSError:
            return ()
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)


class Renewal:
    """Gives every new connection the certificate that the files hold then.

    grpc asks before each handshake, from threads of its own. Files that do not fit together, as while
    they are being replaced, change nothing and are looked at again.
    """

    def __init__(self, files: TlsFiles) -> None:
        """Read the files. Raises Invalid."""
        self._files = files
        self._lock = Lock()
        self._stamps = files.stamps()
        self._refused: tuple[tuple[int, int, int], ...] | None = None
        self._looked = time.monotonic()
        self.first = files.read()

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new certificate when there is one."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked < LOOK_SECONDS:
                return None
            self._looked = now
            stamps = self._files.stamps()
            if not stamps or stamps == self._stamps:
                return None
            try:
                renewed = self._files.read()
            except Invalid as error:
                if stamps != self._refused:
                    log.warning("certificate_not_renewed", error=error.message)
                self._refused = stamps
                return None
            self._stamps, self._refused = stamps, None
            log.info("certificate_renewed", file=str(self._files.certificate))
            return renewed


def credentials(files: TlsFiles) -> Credentials:
    """Make the server's credentials. Raises Invalid."""
    renewal = Renewal(files)
    # None means no change, whatever the stubs say.
    fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", renewal.fetch)
    return grpc.dynamic_ssl_server_credentials(
        renewal.first, fetch, require_client_authentication=files.client_ca is not None
    )


def peer_name(properties: Mapping[str, Iterable[bytes]]) -> str:
    """Return the name in the certificate that a caller showed (SPIFFE id, alternative or common name); else empty."""
    for name in (_SPIFFE, _ALTERNATIVE, _COMMON):
        for value in properties.get(name, ()):
            return value.decode("utf-8", "replace")
    return ""


def identities(properties: Mapping[str, Iterable[bytes]]) -> Iterator[str]:
    """Yield the names that a verified certificate may stand for: SPIFFE id and alternative names, never the common."""
    for name in (_SPIFFE, _ALTERNATIVE):
        for value in properties.get(name, ()):
            yield value.decode("utf-8", "replace")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"tls: cannot read {path}: {error.strerror}") from None


def _no_password() -> str:
    raise ValueError("the key is encrypted; store it without a password, readable by the server only")

"""Opening channels: in clear, through TLS, through TLS with a certificate of one's own."""

from __future__ import annotations

from typing import Any

import grpc

from hibana import __version__
from hibana.config import Settings
from hibana.errors import ConfigError

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.primary_user_agent", f"hibana-python/{__version__}"),
)


def open_channel(settings: Settings, api: Any) -> Any:
    """Open a channel in one of gRPC's two APIs, `grpc` or `grpc.aio`. Raises ConfigError.

    Certificates are read here: a connection that lives on keeps those it was opened with.
    """
    if not settings.tls:
        # A proxy named in the environment would see the token: what goes in clear goes direct.
        return api.insecure_channel(settings.target, options=[*_OPTIONS, ("grpc.enable_http_proxy", 0)])
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read(settings.ca_file),
        private_key=_read(settings.key_file),
        certificate_chain=_read(settings.cert_file),
    )
    options = [*_OPTIONS]
    if settings.server_name:
        options.append(("grpc.ssl_target_name_override", settings.server_name))
    return api.secure_channel(settings.target, credentials, options=options)


def _read(path: str) -> bytes | None:
    """Return the content of a PEM file, None for no path."""
    if not path:
        return None
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a few kilobytes, once
            data = file.read()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        why = (isinstance(error, OSError) and error.strerror) or error
        raise ConfigError(f"the certificate file {path} cannot be read: {why}") from None
    if b"-----BEGIN " not in data:
        # gRPC would accept it and fail at every connection with a message that names no file.
        raise ConfigError(f"{path} holds no certificate or key", next_step="give a file in PEM form")
    return data

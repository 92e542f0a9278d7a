"""TLS of the gRPC port: what is refused at the start, renewal without a restart, and mutual TLS."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from hibana.v1 import module_registry_pb2, module_registry_pb2_grpc
from hibana_server.app import _doors
from hibana_server.domain.errors import Invalid
from hibana_server.settings.model import load
from tests.framework.certificates import Authority, Pair
from tests.framework.server import Server, ServerFailed

LIST = module_registry_pb2.ListModulesRequest()


def settings(pair: Pair, **more: str) -> dict[str, str]:
    """Return the settings of a server with this certificate."""
    return {"TLS_CERTIFICATE": pair.certificate_file, "TLS_KEY": pair.key_file, **more}


def list_modules(server: Server, trusted: Authority, shown: Pair | None = None) -> None:
    """List modules over a new connection."""
    credentials = grpc.ssl_channel_credentials(
        trusted.certificate, shown.key if shown else None, shown.certificate if shown else None
    )
    with grpc.secure_channel(server.address, credentials) as channel:
        stub = module_registry_pb2_grpc.ModuleRegistryStub(channel)
        stub.ListModules(LIST, metadata=(("authorization", f"Bearer {server.token('alice')}"),), timeout=10)


def serial(server: Server) -> str:
    """Return the certificate that a new connection gets."""
    host, port = server.address.rsplit(":", 1)
    return ssl.get_server_certificate((host, int(port)))


def connect_until(server: Server, event: str) -> None:
    """Make new connections until the server logs an event: it looks at its files when one comes."""
    for _ in range(20):
        serial(server)
        with suppress(ServerFailed):
            server.wait_for_log(event, 1.0)
            return
    raise AssertionError(event)


def test_calls_go_through_tls_and_clear_text_does_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Server(tmp_path / "data", settings(authority.sign("127.0.0.1"))) as server:
        list_modules(server, authority)
        with pytest.raises(grpc.RpcError) as caught:
            list_modules(server, Authority(tmp_path, "other"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
            module_registry_pb2_grpc.ModuleRegistryStub(channel).ListModules(LIST, timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_renewed_certificate_is_taken_and_a_broken_one_is_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("127.0.0.1")
    certificate, key = Path(pair.certificate_file), Path(pair.key_file)
    with Server(tmp_path / "data", settings(pair)) as server:
        first = serial(server)
        (tmp_path / "new").mkdir()
        renewed = Authority(tmp_path / "new").sign("127.0.0.1")
        certificate.write_bytes(renewed.certificate)  # of another key than the file beside it: not taken
        connect_until(server, "certificate_not_renewed")
        assert serial(server) == first
        key.write_bytes(renewed.key)
        connect_until(server, "certificate_renewed")
        assert serial(server) != first
        assert server.pid


def test_mutual_tls_asks_for_a_certificate_and_tells_whose_it_was(tmp_path: Path) -> None:
    ours, callers = Authority(tmp_path), Authority(tmp_path, "callers")
    more = {"TLS_CLIENT_CA": callers.file, "LOG_ACCESS": "true"}
    with Server(tmp_path / "data", settings(ours.sign("127.0.0.1"), **more)) as server:
        list_modules(server, ours, callers.sign("edge.example"))
        assert server.wait_for_log("call", 10.0)["peer"] == "edge.example"
        for shown in (None, ours.sign("edge.example")):
            with pytest.raises(grpc.RpcError) as caught:
                list_modules(server, ours, shown)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("broken", ["missing", "swapped", "alone", "no authority"])
def test_files_that_do_not_fit_are_refused_at_the_start(tmp_path: Path, broken: str) -> None:
    pair = Authority(tmp_path).sign("127.0.0.1")
    wrong = {
        "missing": {"TLS_CERTIFICATE": str(tmp_path / "gone.pem"), "TLS_KEY": pair.key_file},
        "swapped": {"TLS_CERTIFICATE": pair.key_file, "TLS_KEY": pair.certificate_file},
        "alone": {"TLS_CERTIFICATE": pair.certificate_file},
        "no authority": settings(pair, TLS_CLIENT_CA=pair.key_file),
    }[broken]
    with pytest.raises(ServerFailed, match="tls"):
        Server(tmp_path / "data", wrong).start()


def test_tls_opens_addresses_that_others_can_reach(tmp_path: Path) -> None:
    pair = Authority(tmp_path).sign("127.0.0.1")
    tls = {"certificate": pair.certificate_file, "key": pair.key_file}
    listen, http, credentials = _doors(load(environ={}, options={"listen": "0.0.0.0:1", "http": "off", "tls": tls}))
    assert (str(listen), http) == ("0.0.0.0:1", None)
    assert credentials is not None
    for options in ({"listen": "0.0.0.0:1", "http": "off"}, {"http": "0.0.0.0:1", "tls": tls}):
        with pytest.raises(Invalid, match="clear text"):
            _doors(load(environ={}, options=options))

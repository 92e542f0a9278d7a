"""The client's side of TLS: whom it trusts, which name it expects, what it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

import hibana
from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2
from tests.framework.certificates import Authority, Pair
from tests.framework.scripted import metadata, serving


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("strange-certificates"), "stranger")


@asynccontextmanager
async def secure(pair: Pair, clients: Authority | None = None) -> AsyncIterator[tuple[str, list[tuple[str, str]]]]:
    """Serve with a certificate, to clients of an authority only if one is given; tell each call's peer and token."""
    seen: list[tuple[str, str]] = []

    def see(context: Any) -> None:
        names = context.auth_context().get("x509_common_name", [b""])
        seen.append((names[0].decode(), metadata(context).get("authorization", "")))

    async def get(_request: Any, context: Any) -> Any:
        see(context)
        return module_registry_pb2.GetModuleResponse(module=module_pb2.Module(name="modules/1"))

    async def upload(requests: Any, context: Any) -> Any:
        async for _ in requests:
            pass
        see(context)
        return module_registry_pb2.UploadModuleResponse()

    async def execute(_request: Any, context: Any) -> Any:
        see(context)
        result = execution_pb2.ExecutionResult(outcome=execution_pb2.OUTCOME_OK)
        yield executor_pb2.ExecuteResponse(event=execution_pb2.ExecutionEvent(sequence=1, result=result))

    credentials = grpc.ssl_server_credentials(
        [(pair.key, pair.certificate)],
        root_certificates=clients.certificate if clients else None,
        require_client_auth=clients is not None,
    )
    handlers = {
        "ModuleRegistry.GetModule": get,
        "ModuleRegistry.UploadModule": upload,
        "Executor.Execute": execute,
    }
    async with serving(handlers, credentials) as address:
        yield f"https://{address}", seen


async def test_every_kind_of_call_goes_through_tls(authority: Authority) -> None:
    async with secure(authority.sign("127.0.0.1")) as (address, seen):
        async with hibana.Client(address, token="t", ca_file=authority.file) as client:
            await client.module("user/m")
            await client.upload(b"x", name="m", version="1")
            assert [type(event) async for event in client.stream("user/m")] == [hibana.Result]
        plain = address.removeprefix("https://")
        async with hibana.Client(plain, token="t", tls=True, ca_file=authority.file) as client:
            await client.module("user/m")
    assert seen == [("", "Bearer t")] * 4


async def test_a_server_that_nobody_vouches_for_is_not_spoken_to(authority: Authority, stranger: Authority) -> None:
    async with secure(authority.sign("127.0.0.1")) as (address, seen):
        for ca_file in (None, stranger.file):
            async with hibana.Client(address, token="t", ca_file=ca_file, timeout=10) as client:
                with pytest.raises(hibana.Unreachable) as caught:
                    await client.module("user/m")
                assert "ca_file" in caught.value.next_step
                with pytest.raises(hibana.Unreachable):
                    await client.upload(b"x", name="m", version="1", timeout=10)
    assert seen == []


async def test_the_name_in_the_certificate_counts(authority: Authority) -> None:
    async with secure(authority.sign("hibana.test")) as (address, seen):
        async with hibana.Client(address, ca_file=authority.file, timeout=10) as client:
            with pytest.raises(hibana.Unreachable) as caught:
                await client.module("user/m")
            assert "server_name" in caught.value.next_step
        async with hibana.Client(address, ca_file=authority.file, server_name="hibana.test") as client:
            await client.module("user/m")
    assert len(seen) == 1


async def test_mutual_tls_shows_who_calls(authority: Authority, stranger: Authority) -> None:
    alice, mallory = authority.sign("alice"), stranger.sign("alice")
    async with secure(authority.sign("127.0.0.1"), authority) as (address, seen):
        async with hibana.Client(
            address, ca_file=authority.file, cert_file=alice.certificate_file, key_file=alice.key_file
        ) as client:
            await client.module("user/m")
            await client.upload(b"x", name="m", version="1")
        async with hibana.Client(address, ca_file=authority.file, timeout=10) as client:
            with pytest.raises(hibana.Unreachable) as caught:
                await client.module("user/m")
            assert "--cert-file" in caught.value.next_step
        async with hibana.Client(
            address,
            ca_file=authority.file,
            cert_file=mallory.certificate_file,
            key_file=mallory.key_file,
            timeout=10,
        ) as client:
            with pytest.raises(hibana.Unreachable):
                await client.module("user/m")
    assert seen == [("alice", "")] * 2


async def test_clear_text_to_a_tls_port_is_unreachable(authority: Authority) -> None:
    async with secure(authority.sign("127.0.0.1")) as (address, seen):
        client = hibana.Client(address.removeprefix("https://"), timeout=10)
        with pytest.raises(hibana.Unreachable) as caught:
            await client.module("user/m")
        assert "https://" in caught.value.next_step
        await client.close()
    assert seen == []


async def test_tls_to_a_port_of_clear_text_is_unreachable(authority: Authority) -> None:
    async with serving({}) as address:
        client = hibana.Client(f"https://{address}", ca_file=authority.file, timeout=10)
        with pytest.raises(hibana.Unreachable) as caught:
            await client.module("user/m")
        await client.close()
    assert "without https://" in caught.value.next_step


@pytest.mark.parametrize("content", [None, b"", b"no PEM at all"])
async def test_a_file_that_is_no_certificate_is_told(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    async with hibana.Client("https://127.0.0.1:1", ca_file=str(file)) as client:
        with pytest.raises(hibana.ConfigError, match=r"ca\.pem"):
            await client.module("user/m")
        with pytest.raises(hibana.ConfigError, match=r"ca\.pem"):
            await client.upload(b"x", name="m", version="1")

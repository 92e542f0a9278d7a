"""Uploading, inspecting and finding modules through the client."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

import hibana
from tests.framework.server import Server

Guest = Callable[[str], bytes]


async def test_an_upload_tells_what_the_module_is(client: hibana.Client, guest: Guest, subject: str) -> None:
    wasm = guest("client_numbers")
    answer = await client.upload(
        wasm, name="numbers", version="1.0.0", description="sums", labels={"team": "a"}, allowed_users=["bob"]
    )
    assert not answer.existed
    assert answer.module.reference.startswith("user/")
    assert (answer.module.owner, answer.module.module_name) == (subject, "numbers")
    assert (answer.module.description, answer.module.labels) == ("sums", {"team": "a"})
    assert (answer.module.allowed_users, answer.module.is_public) == (("bob",), False)
    assert (answer.module.live_version, answer.module.tier) == ("1.0.0", hibana.Tier.USER)
    assert answer.version.sha256 == hashlib.sha256(wasm).hexdigest()
    assert answer.version.wasm_size_bytes == len(wasm)
    assert (answer.version.runnable, answer.version.convention) == (True, hibana.Convention.CORE)
    add = answer.version.export("add")
    assert add is not None
    assert add.signature == "(p0: s32, p1: s32) -> s32"
    assert answer.version.create_time is not None


async def test_the_same_bytes_may_be_uploaded_again_and_other_bytes_not(client: hibana.Client, guest: Guest) -> None:
    first = await client.upload(guest("client_cat"), name="m", version="1")
    again = await client.upload(guest("client_cat"), name="m", version="1")
    assert (first.existed, again.existed) == (False, True)
    assert again.version == first.version
    with pytest.raises(hibana.AlreadyExists) as caught:
        await client.upload(guest("client_exit"), name="m", version="1")
    assert caught.value.reason == "VERSION_TAKEN"


async def test_a_second_version_needs_no_word_about_the_module(client: hibana.Client, guest: Guest) -> None:
    await client.upload(guest("client_cat"), name="m", version="1", public=True)
    second = await client.upload(guest("client_cat"), name="m", version="2")
    assert (second.module.is_public, second.module.live_version) == (True, "2")


async def test_a_version_can_be_stored_without_becoming_live(client: hibana.Client, guest: Guest) -> None:
    await client.upload(guest("client_cat"), name="m", version="1")
    second = await client.upload(guest("client_cat"), name="m", version="2", publish=False)
    assert (second.module.live_version, second.version.published) == ("1", False)


async def test_a_file_is_sent_in_chunks_with_progress(client: hibana.Client, tmp_path: Path) -> None:
    path = tmp_path / "large.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm(f'(module (memory 40) (data (i32.const 0) "{"x" * 2_500_000}"))')))
    told: list[tuple[int, int]] = []
    answer = await client.upload(
        path, name="large", version="1", progress=lambda sent, total: told.append((sent, total))
    )
    total = path.stat().st_size
    assert answer.version.wasm_size_bytes == total
    assert told == [(min(i * 2**20, total), total) for i in range(1, len(told) + 1)]
    assert told[-1] == (total, total)


async def test_inspecting_stores_nothing(client: hibana.Client, guest: Guest, subject: str) -> None:
    answer = await client.inspect(guest("client_cat"))
    assert answer.version.convention is hibana.Convention.WASI_COMMAND
    assert {f"{i.module}.{i.name}" for i in answer.version.imports} == {
        "wasi_snapshot_preview1.fd_read",
        "wasi_snapshot_preview1.fd_write",
    }
    assert (await client.modules(owner=subject).page()).total_size == 0


async def test_an_import_that_is_not_granted_is_a_finding(client: hibana.Client, guest: Guest) -> None:
    answer = await client.upload(guest("client_ungranted"), name="ungranted", version="1")
    assert not answer.version.runnable
    assert any(f.severity is hibana.Severity.ERROR and f.fix for f in answer.version.findings)
    with pytest.raises(hibana.FailedPrecondition):
        await client.run("user/ungranted@1", "go")


@pytest.mark.parametrize("data", [b"", b"MZ\x90\x00", b"(module)", b"\x00asm\x01\x00\x00\x00\x63"])
async def test_bytes_that_are_no_module_are_refused(client: hibana.Client, data: bytes) -> None:
    with pytest.raises(hibana.InvalidArgument) as caught:
        await client.upload(data, name="bad", version="1")
    assert caught.value.reason in {"MODULE_MALFORMED", "INVALID_REQUEST"}
    assert caught.value.message


async def test_only_an_admin_makes_system_modules(client: hibana.Client, guest: Guest) -> None:
    with pytest.raises(hibana.PermissionDenied) as caught:
        await client.upload(guest("client_cat"), name="sys", version="1", tier=hibana.Tier.SYSTEM)
    assert caught.value.reason == "NOT_ALLOWED"


async def test_an_upload_refused_at_its_header_tells_why(client: hibana.Client) -> None:
    with pytest.raises(hibana.InvalidArgument) as caught:
        await client.upload(b"\x00asm" + os.urandom(5 * 2**20), name="NOT A NAME", version="1")
    assert [v.field for v in caught.value.violations] != []


async def test_a_field_that_is_wrong_is_named(client: hibana.Client, guest: Guest) -> None:
    with pytest.raises(hibana.InvalidArgument) as caught:
        await client.upload(guest("client_cat"), name="ok", version="", labels={"BAD KEY": "x"})
    assert caught.value.violations


async def test_lists_run_through_all_pages(client: hibana.Client, guest: Guest, subject: str) -> None:
    for number in range(5):
        await client.upload(guest("client_cat"), name=f"m{number}", version="1")
    listing = client.modules(tier="user", owner=subject, name_prefix="m", page_size=2)
    assert [m.module_name async for m in listing] == ["m4", "m3", "m2", "m1", "m0"]
    first = await listing.page()
    assert (len(first.items), first.total_size) == (2, 5)
    second = await listing.page(first.next_page_token)
    assert [m.module_name for m in second.items] == ["m2", "m1"]
    with pytest.raises(hibana.InvalidArgument) as caught:
        await listing.page("no such token")
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


async def test_versions_are_listed_and_found(client: hibana.Client, guest: Guest) -> None:
    for version in ("1", "2", "3"):
        await client.upload(guest("client_cat"), name="m", version=version)
    assert [v.version async for v in client.versions("user/m", page_size=2)] == ["3", "2", "1"]
    assert (await client.version("user/m")).version == "3"
    assert (await client.version("user/m@2")).version == "2"
    module = await client.module("user/m")
    assert module == await client.module(module.name) == await client.module(module.reference)


async def test_what_is_anothers_looks_like_nothing(client: hibana.Client, server: Server, guest: Guest) -> None:
    await client.upload(guest("client_cat"), name="mine", version="1")
    mine = await client.module("user/mine")
    async with hibana.Client(server.address, token=server.token("client-stranger")) as stranger:
        for ref in (mine.name, mine.reference, "modules/01900000-0000-7000-8000-000000000000"):
            with pytest.raises(hibana.NotFound) as caught:
                await stranger.module(ref)
            assert caught.value.reason == "NOT_FOUND"

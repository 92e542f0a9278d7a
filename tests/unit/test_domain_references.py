"""References: everything that is written reads back, everything else is refused with a reason."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.errors import Invalid
from hibana_server.domain.references import (
    MAX_REFERENCE_BYTES,
    MAX_SUBJECT_BYTES,
    NAME,
    UID,
    VERSION,
    Reference,
    parse,
    spell,
)
from hibana_server.domain.tiers import Tier

UID_TEXT = "0193e6a4-7c3b-7abc-8def-0123456789ab"

names = st.from_regex(NAME, fullmatch=True)
versions = st.from_regex(VERSION, fullmatch=True)
printable = st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=MAX_SUBJECT_BYTES)
subjects = printable.filter(lambda s: len(s.encode()) <= MAX_SUBJECT_BYTES)
near = st.text(st.sampled_from("modulesystemadminuser/@%-.+09azAZ\n\0 é\u202e\ud800"), max_size=80)


def read(text: str, field: str) -> Reference | Invalid:
    try:
        return parse(text, field)
    except Invalid as error:
        return error


@given(text=st.text(st.characters(exclude_categories=[])) | near, field=st.sampled_from(["module", "version"]))
def test_any_text_is_read_or_refused_by_name_of_the_field(text: str, field: str) -> None:
    found = read(text, field)
    if isinstance(found, Invalid):
        assert found.reason == "REFERENCE_INVALID"
        assert [v.field for v in found.violations] == [field]
        assert len(found.message) < 300
    else:
        assert (found.tier is None) == bool(found.uid)
        assert found.uid == "" or UID.match(found.uid)
        assert found.name == "" or NAME.match(found.name)
        assert found.version == "" or VERSION.match(found.version)


@given(tier=st.sampled_from(Tier), owner=subjects, name=names)
def test_what_is_spelled_reads_back(tier: Tier, owner: str, name: str) -> None:
    expected = Reference(tier=tier, owner=owner if tier is Tier.USER else "", name=name)
    assert parse(spell(tier, owner, name)) == expected


@given(owner=subjects, name=names, version=versions)
def test_a_version_may_follow(owner: str, name: str, version: str) -> None:
    assert parse(f"{spell(Tier.USER, owner, name)}@{version}") == Reference(
        tier=Tier.USER, owner=owner, name=name, version=version
    )


@given(version=versions)
def test_resource_names_read_back(version: str) -> None:
    assert parse(f"modules/{UID_TEXT}") == Reference(uid=UID_TEXT)
    assert parse(f"modules/{UID_TEXT}/versions/{version}") == Reference(uid=UID_TEXT, version=version)


def test_the_own_namespace_needs_no_owner() -> None:
    assert parse("user/resize@1.0") == Reference(tier=Tier.USER, name="resize", version="1.0")


def test_the_longest_subject_fits_into_a_reference() -> None:
    owner = "é" * (MAX_SUBJECT_BYTES // 2)
    assert parse(spell(Tier.USER, owner, "a" * 63) + "@" + "1" * 64).owner == owner


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "user",
        "user/",
        "/user/name",
        "user//name",
        "user/name/",
        "user/a/b/c",
        "system/owner/name",
        "admin/owner/name",
        "users/name",
        "User/name",
        "modules",
        "modules/",
        f"modules/{UID_TEXT.upper()}",
        f"modules/{UID_TEXT}@1.0",
        f"modules/{UID_TEXT}/1.0",
        f"modules/{UID_TEXT}/versions",
        f"modules/{UID_TEXT}/versions/",
        f"modules/{UID_TEXT}/versions/1.0/x",
        f"modules/{UID_TEXT}/Versions/1.0",
        f"modules/{UID_TEXT}\n",
        f"modules/{uuid.UUID(UID_TEXT).hex}",
        f"modules/{{{UID_TEXT}}}",
        "user/name\n",
        "user/name@1.0\n",
        "user/name\0",
        "user/na me",
        "user/Name",
        "user/-name",
        "user/na_me",
        "user/name@",
        "user/name@1@2",
        "user/name@../1",
        "user/name@.1",
        "user/name@-1",
        f"user/{'a' * 64}",
        f"user/name@{'1' * 65}",
        "user/а-cyrillic",
        "user/ｎame",
        "user/a@b/name",
        "user/%/name",
        "user/%4/name",
        "user/%zz/name",
        "user/%ff/name",
        "user/%C0%AF/name",
        "user/%ED%A0%80/name",
        "user/a%00b/name",
        "user/a%0Ab/name",
        "user/a%E2%80%AEb/name",
        "user/a%E2%80%8Bb/name",
        "user/\ud800/name",
        f"user/{'%61' * (MAX_SUBJECT_BYTES + 1)}/name",
        "x" * (MAX_REFERENCE_BYTES + 1),
    ],
)
def test_malformed_references_are_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert caught.value.reason == "REFERENCE_INVALID"


def test_dots_and_slashes_in_an_owner_are_only_text() -> None:
    assert parse("user/../name") == Reference(tier=Tier.USER, owner="..", name="name")
    assert parse("user/..%2F..%2Fetc/name") == Reference(tier=Tier.USER, owner="../../etc", name="name")

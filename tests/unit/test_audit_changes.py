"""What an audit entry tells of a change: what differs, and no more than fits."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.audit_changes import MAX_BYTES, difference, module_state, quota_state
from hibana_server.domain.modules import Module, Status
from hibana_server.domain.quotas import Quota
from hibana_server.domain.tiers import Tier


def test_only_what_differs_is_told() -> None:
    before = module_state(Module(uid="1", tier=Tier.USER, owner="alice", name="m"))
    after = module_state(Module(uid="1", tier=Tier.USER, owner="alice", name="m", status=Status.DISABLED))
    assert difference(before, after) == ('{"status":"active"}', '{"status":"disabled"}')


def test_of_allow_lists_who_came_and_who_went_is_told() -> None:
    before, after = {"allowed_users": ("ann", "bob")}, {"allowed_users": ("bob", "zoe")}
    assert difference(before, after) == ('{"allowed_users":["ann"]}', '{"allowed_users":["zoe"]}')


def test_what_was_not_or_is_no_more_is_empty() -> None:
    assert difference(None, {"a": 1}) == ("", '{"a":1}')
    assert difference({"a": 1}, None) == ('{"a":1}', "")
    assert difference({"a": 1}, {}) == ('{"a":1}', "{}")


def test_a_quota_tells_the_bounds_that_it_sets() -> None:
    assert quota_state(Quota(max_modules=3)) == {"max_modules": 3}


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3000),
    lambda inner: st.lists(inner, max_size=80) | st.dictionaries(st.text(max_size=400), inner, max_size=80),
    max_leaves=40,
)


@given(st.dictionaries(st.sampled_from("abcdefgh"), _VALUES), st.dictionaries(st.sampled_from("abcdefgh"), _VALUES))
def test_whatever_the_values_it_is_short_json_without_control_characters(
    before: dict[str, object], after: dict[str, object]
) -> None:
    for text in difference(before, after):
        assert len(text) <= MAX_BYTES
        assert text.isascii()
        assert text.isprintable()
        assert isinstance(json.loads(text), dict)

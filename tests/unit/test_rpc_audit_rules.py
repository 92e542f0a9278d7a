"""Every RPC is told to the audit log in a way that was decided on purpose."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from hibana_server.rpc import audit_rules
from hibana_server.rpc.access_rules import ACCESS_RULES
from hibana_server.rpc.audit_rules import AUDIT_RULES
from hibana_server.rpc.methods import by_path
from hibana_server.rpc.rules import _ACTION
from tests.framework.refusals import METHODS, path

CHANGES = """
CancelExecution      execution.cancel
CreateApiKey         key.create
CreateGrant          grant.create
CreateModule         module.upload
DeleteGrant          grant.delete
DeleteModule         module.delete
DeleteModuleVersion  version.delete
PublishModuleVersion version.publish
RevokeApiKey         key.revoke
TransferModule       module.transfer
UndeleteModule       module.undelete
UpdateModule         module.update
UpdateQuota          quota.update
UploadModule         module.upload
"""


def test_what_leaves_an_entry_when_it_is_done_is_frozen() -> None:
    told = {method.rsplit("/", 1)[1]: rule.action for method, rule in AUDIT_RULES.items() if rule.changes}
    assert told == dict(line.split() for line in CHANGES.strip().splitlines())


def test_what_by_its_name_changes_something_is_told_as_a_change() -> None:
    for method, rule in AUDIT_RULES.items():
        name = method.rsplit("/", 1)[1]
        reads = name.startswith(("Get", "List", "Test", "Download", "Watch"))
        runs = rule.action in ("execution.run", "execution.replay")
        assert rule.changes == (not reads and not runs), method


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_rpc_of_the_contract_is_told(method: MethodDescriptor) -> None:
    rule = AUDIT_RULES[path(method)]
    assert _ACTION.match(rule.action)
    if rule.resource is not None:
        assert isinstance(rule.resource(GetMessageClass(method.input_type)()), str)
    if ACCESS_RULES[path(method)].for_admins and rule.changes:
        assert rule.resource is not None, "what a refused request was about can be told from the request only"


def test_an_rpc_that_is_not_told_is_not_served() -> None:
    table = {service: dict(rules) for service, rules in audit_rules._TABLE.items()}
    del table["hibana.v1.Executor"]["Invoke"]
    with pytest.raises(KeyError, match="Invoke"):
        by_path(table)

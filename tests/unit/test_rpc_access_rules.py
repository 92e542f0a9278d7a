"""Every RPC has a rule of access, and which one is decided on purpose: a change of this table is a change of rights."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import MethodDescriptor

from hibana_server.domain.access import Action
from hibana_server.rpc import access_rules
from hibana_server.rpc.access_rules import ACCESS_RULES, About, AccessRule
from hibana_server.rpc.methods import by_path
from tests.framework.refusals import METHODS, path

FROZEN = """
/hibana.v1.Admin/CreateApiKey              belonging   change
/hibana.v1.Admin/CreateGrant               service     operate
/hibana.v1.Admin/DeleteGrant               service     operate
/hibana.v1.Admin/GetQuota                  belonging   read
/hibana.v1.Admin/ListApiKeys               belongings  read
/hibana.v1.Admin/ListAuditEntries          service     operate
/hibana.v1.Admin/ListGrants                module      inspect
/hibana.v1.Admin/ListQuotas                service     operate
/hibana.v1.Admin/RevokeApiKey              belonging   change
/hibana.v1.Admin/UpdateQuota               service     operate
/hibana.v1.Executor/CancelExecution        belonging   change
/hibana.v1.Executor/Execute                module      execute
/hibana.v1.Executor/GetExecution           belonging   read
/hibana.v1.Executor/GetExecutionStats      belongings  read
/hibana.v1.Executor/Invoke                 module      execute
/hibana.v1.Executor/ListExecutions         belongings  read
/hibana.v1.Executor/ReplayExecution        belonging   read execute
/hibana.v1.Executor/Session                module      execute
/hibana.v1.Executor/StartExecution         module      execute
/hibana.v1.Executor/WatchExecution         belonging   read
/hibana.v1.ModuleRegistry/CreateModule     module      create edit
/hibana.v1.ModuleRegistry/DeleteModule     module      delete
/hibana.v1.ModuleRegistry/DeleteModuleVersion module   edit
/hibana.v1.ModuleRegistry/DownloadModule   module      inspect
/hibana.v1.ModuleRegistry/GetModule        module      view
/hibana.v1.ModuleRegistry/GetModuleStats   module      inspect
/hibana.v1.ModuleRegistry/GetModuleVersion module      view
/hibana.v1.ModuleRegistry/ListModuleVersions module    view
/hibana.v1.ModuleRegistry/ListModules      modules     view
/hibana.v1.ModuleRegistry/PublishModuleVersion module  edit
/hibana.v1.ModuleRegistry/TestAccess       module      view
/hibana.v1.ModuleRegistry/TransferModule   module      transfer
/hibana.v1.ModuleRegistry/UndeleteModule   module      delete
/hibana.v1.ModuleRegistry/UpdateModule     module      edit disable
/hibana.v1.ModuleRegistry/UploadModule     module      create edit
"""


def test_the_rule_of_every_rpc_is_frozen() -> None:
    told = {
        method: AccessRule(About[about.upper()], tuple(map(Action, actions)))
        for method, about, *actions in map(str.split, FROZEN.strip().splitlines())
    }
    assert told == ACCESS_RULES


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_rpc_of_the_contract_has_a_rule(method: MethodDescriptor) -> None:
    assert ACCESS_RULES[path(method)].actions


def test_an_rpc_without_a_rule_is_not_served() -> None:
    table = {service: dict(rules) for service, rules in access_rules._TABLE.items()}
    del table["hibana.v1.Executor"]["Invoke"]
    with pytest.raises(KeyError, match="Invoke"):
        by_path(table)


def test_what_is_done_to_the_service_needs_nothing_but_the_role() -> None:
    assert {rule.actions for rule in ACCESS_RULES.values() if rule.for_admins} == {(Action.OPERATE,)}
    others = [rule for rule in ACCESS_RULES.values() if not rule.for_admins]
    assert not any(Action.OPERATE in rule.actions for rule in others)

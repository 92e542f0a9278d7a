"""Every domain error has a code, every reason a place in the contract, and details survive the way to the caller."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

import hibana_server
from hibana.v1 import error_reason_pb2, module_pb2
from hibana_server.domain import errors
from hibana_server.domain.errors import HibanaError, Violation
from hibana_server.domain.modules import Finding, Severity
from hibana_server.rpc.errors import CODES, MAX_STATUS_BYTES, code_of, status_of

SOURCE = Path(hibana_server.__file__).parent
PROTO = Path(__file__).resolve().parents[2] / "proto/hibana/v1/error_reason.proto"
REASONS = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118 - a wrapper


def subclasses(kind: type[HibanaError]) -> Iterator[type[HibanaError]]:
    for below in kind.__subclasses__():
        yield below
        yield from subclasses(below)


def codes_in_the_contract() -> dict[str, str]:
    """Return reason -> gRPC code as the comments of the contract tell it."""
    found, code = {}, ""
    for line in PROTO.read_text(encoding="utf-8").splitlines():
        if told := re.match(r"  // ([A-Z_]+): ", line):
            code = told[1]
        elif value := re.match(r"  ERROR_REASON_([A-Z_]+) = [1-9]", line):
            found[value[1]], code = code, ""
    return found


def reasons_in(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (reason, name of the function or class that is called with it, if any)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            owner = getattr(getattr(node.func, "value", None), "id", "") if name == "field" else name
            for keyword in node.keywords:
                if keyword.arg == "reason" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value), owner
            if name in {"Refused", "_refused"} and node.args and isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value), ""
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(getattr(t, "id", "") in {"reason", "default_reason"} for t in targets) and node.value.value:
                yield str(node.value.value), ""


def used() -> list[tuple[str, str, str]]:
    """Return (reason, error it is raised with, file) for every reason in the source of the server."""
    return [
        (reason, kind, file.relative_to(SOURCE).as_posix())
        for file in sorted(SOURCE.rglob("*.py"))
        for reason, kind in reasons_in(ast.parse(file.read_text(encoding="utf-8")))
    ]


def details(error: HibanaError) -> list[Message]:
    """Return the details as a caller unpacks them."""
    kinds: tuple[type[Message], ...] = (
        error_details_pb2.ErrorInfo,
        error_details_pb2.BadRequest,
        error_details_pb2.RetryInfo,
        module_pb2.Finding,
    )
    status = status_pb2.Status.FromString(status_of(error).SerializeToString())
    found = []
    for packed in status.details:
        (kind,) = [k for k in kinds if packed.TypeName() == k.DESCRIPTOR.full_name]
        message = kind()
        packed.Unpack(message)
        found.append(message)
    return found


def test_every_domain_error_has_a_code_and_every_code_an_error() -> None:
    assert set(subclasses(HibanaError)) == set(CODES)
    assert len(set(CODES.values())) == len(CODES)
    # The remaining codes are gRPC's own: OK, and what only the transport says.
    assert set(grpc.StatusCode) - set(CODES.values()) == {
        grpc.StatusCode.OK,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.OUT_OF_RANGE,
    }


def test_the_tree_on_top_of_the_file_names_every_error() -> None:
    tree = re.findall(r"(?:\||`)-- (\w+)", errors.__doc__ or "")
    assert tree == [kind.__name__ for kind in HibanaError.__subclasses__()]


def test_every_reason_in_the_source_is_in_the_contract() -> None:
    found = used()
    assert len({reason for reason, _, _ in found}) > 20
    assert [(reason, file) for reason, _, file in found if reason not in REASONS] == []


def test_every_reason_goes_with_the_code_that_the_contract_tells() -> None:
    promised = codes_in_the_contract()
    assert set(promised) == REASONS - {"UNSPECIFIED"}
    by_name = {kind.__name__: code.name for kind, code in CODES.items()}
    differing = [
        (reason, kind, file) for reason, kind, file in used() if kind in by_name and by_name[kind] != promised[reason]
    ]
    assert differing == []
    for kind, code in CODES.items():
        assert promised[kind.default_reason] == code.name


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_the_round_trip_of_every_error(kind: type[HibanaError]) -> None:
    error = kind("what happened; what to do", metadata={"key": "value"}, violations=[Violation("a.b", "is wrong")])
    status = status_of(error)
    assert status.code == code_of(error).value[0]
    assert status.message == "what happened; what to do"
    info, bad, *rest = details(error)
    assert info == error_details_pb2.ErrorInfo(reason=kind.default_reason, domain="hibana", metadata={"key": "value"})
    assert isinstance(bad, error_details_pb2.BadRequest)
    (violation,) = bad.field_violations
    assert (violation.field, violation.description) == ("a.b", "is wrong")
    retryable = kind in {errors.Exhausted, errors.Unavailable}
    assert len(rest) == retryable


@pytest.mark.parametrize(("after", "seconds"), [(None, 1.0), (2.5, 2.5), (0.0, 0.0)])
def test_the_time_to_wait_travels(after: float | None, seconds: float) -> None:
    _, retry = details(errors.Exhausted("full", retry_after=after))
    assert isinstance(retry, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToTimedelta().total_seconds() == seconds


def test_findings_travel() -> None:
    finding = Finding(Severity.ERROR, "IMPORT_NOT_GRANTED", "imports env.fetch", "ask for a grant")
    _, sent = details(errors.Invalid("refused", reason="MODULE_LIMIT", findings=[finding]))
    assert sent == module_pb2.Finding(
        severity=module_pb2.SEVERITY_ERROR, code=finding.code, text=finding.text, fix=finding.fix
    )


def test_an_error_stays_small_whatever_it_carries() -> None:
    error = errors.Invalid(
        "m" * 100_000,
        violations=[Violation("f" * 1000, "火" * 10_000)] * 100,
        findings=[Finding(Severity.ERROR, "C", "t" * 1000, "f" * 1000)] * 100,
    )
    status = status_of(error)
    assert len(status.message.encode()) <= errors.MAX_MESSAGE_BYTES
    assert status.ByteSize() <= MAX_STATUS_BYTES
    kinds = [type(d) for d in details(error)]
    assert kinds[:2] == [error_details_pb2.ErrorInfo, error_details_pb2.BadRequest]


def test_a_reason_that_the_contract_lacks_is_a_defect() -> None:
    with pytest.raises(ValueError, match="NO_SUCH_REASON"):
        status_of(errors.Invalid("x", reason="NO_SUCH_REASON"))

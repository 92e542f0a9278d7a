"""Builds the gRPC server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from hibana.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    executor_pb2,
    executor_pb2_grpc,
    module_registry_pb2,
    module_registry_pb2_grpc,
)
from hibana_server.rpc import grpc_shortcuts
from hibana_server.rpc.admin import AdminServicer, AdminServices
from hibana_server.rpc.edge import Edge
from hibana_server.rpc.entrance import Entrance
from hibana_server.rpc.executor import ExecutionServices, ExecutorServicer
from hibana_server.rpc.registry import ModuleRegistryServicer, RegistryServices
from hibana_server.rpc.tls import Credentials
from hibana_server.telemetry.metrics import Metrics
from hibana_server.telemetry.traces import Traces

RECEIVE_BYTES = 16 * 1024 * 1024
SEND_BYTES = 8 * 1024 * 1024
SERVICES = (
    module_registry_pb2.DESCRIPTOR.services_by_name["ModuleRegistry"].full_name,
    executor_pb2.DESCRIPTOR.services_by_name["Executor"].full_name,
    admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name,
)

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", RECEIVE_BYTES),
    ("grpc.max_send_message_length", SEND_BYTES),
    # The hard limit refuses; the soft one would drop calls at random below it.
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.absolute_max_metadata_size", 16 * 1024),
    # Clients wait when they have so many. What grpc calls overload protection counts ended calls until the interpreter
    # lets go of them, and so refuses honest clients that always have as many as they may: with UNAVAILABLE.
    ("grpc.max_concurrent_streams", 100),
    ("grpc.http.overload_protection", 0),
    # Calls that nobody has looked at yet, of all callers. Past the first of these grpc turns away some of them at
    # random, whoever sent them, with CANCELLED: one client's flood of resets would cost others their calls.
    ("grpc.server.max_pending_requests", 8_000),
    ("grpc.server.max_pending_requests_hard_limit", 16_000),
    ("grpc.max_connection_idle_ms", 15 * 60 * 1000),
    ("grpc.max_connection_age_ms", 60 * 60 * 1000),
    # A connection that grew old stays open for the longest run a tier grants.
    ("grpc.max_connection_age_grace_ms", 90 * 1000),
    ("grpc.keepalive_time_ms", 60 * 1000),
    ("grpc.keepalive_timeout_ms", 10 * 1000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10 * 1000),
    ("grpc.server_handshake_timeout_ms", 10 * 1000),
    # Two servers on one port would share the calls of unsuspecting clients.
    ("grpc.so_reuseport", 0),
)


@dataclass(slots=True)
class RpcServer:
    """The built server and its health service."""

    server: grpc.aio.Server
    health: health.aio.HealthServicer

    def listen(self, address: str, tls: Credentials | None) -> int:
        """Open the port, in clear text without credentials, and return its number. Raises RuntimeError."""
        if tls is None:
            return self.server.add_insecure_port(address)
        return self.server.add_secure_port(address, tls)

    async def set_serving(self, *, serving: bool) -> None:
        """Set the health of the whole and of every service."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICES):
            await self.health.set(name, status)


def build(
    *,
    registry: RegistryServices,
    executions: ExecutionServices,
    admin: AdminServices,
    entrance: Entrance,
    metrics: Metrics,
    traces: Traces | None,
    access_log: bool,
    with_reflection: bool,
    upload_stall_seconds: float,
) -> RpcServer:
    """Build the server; ports are added and it is started by whoever called this."""
    grpc_shortcuts.take()
    server = grpc.aio.server(options=(*_OPTIONS, ("grpc.max_allowed_incoming_connections", entrance.connections)))
    # What the generated functions register with; it passes for a server as far as they ask.
    edge: Any = Edge(
        entrance, metrics, quotas=admin.quotas, access_log=access_log, traces=traces, auditor=admin.auditor
    )
    module_registry_pb2_grpc.add_ModuleRegistryServicer_to_server(
        ModuleRegistryServicer(registry, upload_stall_seconds), edge
    )
    executor_pb2_grpc.add_ExecutorServicer_to_server(ExecutorServicer(executions, entrance.verifier), edge)
    admin_pb2_grpc.add_AdminServicer_to_server(AdminServicer(admin), edge)
    health_service = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_service, edge)
    if with_reflection:
        names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
        register: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
        register(reflection.aio.ReflectionServicer(service_names=names), edge)
    server.add_generic_rpc_handlers((edge,))
    return RpcServer(server, health_service)

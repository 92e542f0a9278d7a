"""What a caller may not see costs the work of what is not there, whichever RPC asks for it.

The requests are made from the contract's descriptors, so that an RPC that is added is covered by itself. Times are not
measured: the service runs on the test's own loop, and what is compared are the statements that its databases are asked
for a call. What the audit log looks up after the answer, in the background, is no part of the call.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from hibana_server.auth.tokens import issue
from hibana_server.domain.callers import Role
from hibana_server.rpc.calls import CURRENT
from hibana_server.storage.data_dir import load_or_create_key
from tests.framework.names import PLACES, Place
from tests.framework.refusals import Refusal, call, refused
from tests.framework.server import in_process
from tests.framework.stubs import Stubs, connect
from tests.integration.rpc.theirs import private_things

NUMBERS = itertools.count()


class World:
    """A service in this process, somebody's things in it, and a stranger to them."""

    def __init__(self, stranger: Stubs, theirs: dict[str, str]) -> None:
        self.stranger = stranger
        self.theirs = theirs
        self.statements: dict[str, list[str]] = {}
        """Request id -> what was asked for that call."""

    async def ask(self, place: Place, name: str) -> tuple[Refusal, list[str]]:
        """Ask for something by its name; return the refusal and the statements that it took."""
        request_id = f"same-work-{next(NUMBERS)}"
        metadata: list[tuple[str, str | bytes]] = [*self.stranger.metadata, ("x-request-id", request_id)]
        refusal = await refused(call(self.stranger.channel, place.method, place.request(name), metadata))
        return refusal, self.statements.get(request_id, [])

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Note every statement that is asked while a call is served."""

        def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
            served = CURRENT.get(None)
            if served is not None:
                self.statements.setdefault(served.request_id, []).append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            yield
        finally:
            event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    data_dir = tmp_path_factory.mktemp("same-work") / "data"
    async with in_process(data_dir, {"QUOTA_USER_MAX_REQUESTS_PER_MINUTE": "0"}) as service:
        key = load_or_create_key(data_dir / "keys" / "token.key")
        owner, stranger = (
            connect(str(service.listen), issue(key, subject, Role.USER, 3600), subject)
            for subject in ("names-owner", "stranger")
        )
        async with private_things(owner) as theirs:
            world = World(stranger, theirs)
            with world.listening():
                yield world
        for stubs in (owner, stranger):
            await stubs.close()


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_what_is_hidden_takes_the_statements_of_what_is_unknown(world: World, place: Place) -> None:
    asked = 0
    for true, unknown in world.theirs.items():
        await world.ask(place, unknown)  # so that what is remembered of a caller is remembered for both
        hidden, of_hidden = await world.ask(place, true)
        missing, of_missing = await world.ask(place, unknown)
        assert hidden.told == missing.told
        assert of_hidden == of_missing, true
        asked += bool(of_hidden)
    # Where somebody's things are named, something is looked for: an empty comparison proves nothing.
    assert asked or place.method.name in LOOKS_FOR_NOTHING, place


LOOKS_FOR_NOTHING = {"CreateGrant", "ListGrants", "DeleteGrant"}
"""Not served by this release."""

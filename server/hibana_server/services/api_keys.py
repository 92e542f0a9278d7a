"""API keys: made, listed and revoked by whom they stand for, or by admins."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import structlog

from hibana_server.domain import key_text
from hibana_server.domain.access import (
    UNKNOWN_KEY,
    UNKNOWN_SUBJECT,
    Action,
    Belonging,
    NewKey,
    require,
    unknown_key,
)
from hibana_server.domain.api_keys import ApiKey, ApiKeyStore, KeyRules, KeyUses, RecentUses
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Invalid, PermissionDenied
from hibana_server.domain.ids import now_us
from hibana_server.domain.requests import RequestKey
from hibana_server.services import paging

_NAME = re.compile(r"apiKeys/([0-9A-Za-z]{1,64})\Z", re.ASCII)

log = structlog.get_logger("hibana.keys")


@dataclass(frozen=True, slots=True)
class KeyWanted:
    """What is asked of a new key."""

    subject: str = ""
    """Empty for the caller itself."""
    role: Role | None = None
    """None for the lowest that is of use: a user's, and a service's own is a service's."""
    display_name: str = ""
    ttl: float | None = None
    """Seconds; None for the default."""


@dataclass(frozen=True, slots=True)
class KeyList:
    """A page of keys, newest first."""

    keys: tuple[ApiKey, ...]
    next_page_token: str
    total_size: int


class ApiKeys:
    """Makes, lists and revokes keys."""

    def __init__(self, store: ApiKeyStore, uses: KeyUses, recent: RecentUses, rules: KeyRules) -> None:
        self._store = store
        self._uses = uses
        self._recent = recent
        self._rules = rules

    async def create(
        self, caller: Caller, wanted: KeyWanted, *, request: RequestKey | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key; return it with its text, which is kept nowhere, or with none where the request made it before.

        Raises NotFound for another's subject, PermissionDenied, Invalid, Exhausted(QUOTA_EXCEEDED).
        """
        subject = wanted.subject or caller.subject
        service_itself = caller.role is Role.SERVICE and subject == caller.subject
        role = wanted.role or (Role.SERVICE if service_itself else Role.USER)
        require(caller, Action.CHANGE, NewKey(subject, role, made_by_keys=self._rules.made_by_keys))
        if not self._rules.enabled:
            raise PermissionDenied("API keys are switched off here (keys.enabled); use tokens, or ask the operator")
        self._check(subject, wanted)
        now = now_us()
        expires = now + int((wanted.ttl or self._rules.default_ttl) * 1e6)
        if caller.key:
            expires = min(expires, await self._expiry_of(caller.key))
        key_id, text = key_text.make()
        key = ApiKey(
            id=key_id,
            subject=subject,
            role=role,
            display_name=wanted.display_name,
            creator=caller.subject,
            create_time=now,
            expire_time=expires,
            digest=key_text.digest_of(text),
        )
        made, new = await self._store.add(key, most=self._rules.most, request=request)
        if not new:
            return await self._told(made), ""
        log.info("api_key_made", key=made.id, subject=subject, role=role.value, by=caller.subject)
        return made, text

    async def list_keys(
        self, caller: Caller, subject: str, *, all_subjects: bool, page_size: int, page_token: str
    ) -> KeyList:
        """Return a page of a subject's keys, empty for the caller's own, or of all for admins.

        Raises NotFound for another's subject, PermissionDenied, Invalid.
        """
        if all_subjects:
            require(caller, Action.OPERATE)
            if subject:
                raise Invalid.field("subject", "names one, and all_subjects asks for all; send one of the two")
        else:
            subject = subject or caller.subject
            require(caller, Action.READ, Belonging(subject, UNKNOWN_SUBJECT, f"subjects/{subject}"))
        whose = None if all_subjects else subject
        cursor = paging.unseal(page_token, "api_keys", whose)
        page = await self._store.list_keys(whose, limit=paging.page_size(page_size), cursor=cursor)
        last = await self._uses.last([key.id for key in page.keys])
        keys = tuple(self._used(key, last) for key in page.keys)
        return KeyList(keys, paging.seal(page.next_cursor, "api_keys", whose), page.total_size)

    async def revoke(self, caller: Caller, name: str) -> ApiKey:
        """End a key; once this returns no process of the machine takes it any more. One that ended stays as it is.

        Raises NotFound, also for somebody else's, unless the caller is an admin; Invalid for what is no name.
        """
        key_id = _id_of(name)
        found = (await self._store.find([key_id])).get(key_id)
        if found is None:
            raise unknown_key()
        require(caller, Action.CHANGE, Belonging(found.subject, UNKNOWN_KEY, f"apiKeys/{key_id}"))

        def make(before: ApiKey) -> ApiKey:
            require(caller, Action.CHANGE, Belonging(before.subject, UNKNOWN_KEY, f"apiKeys/{key_id}"))
            now = now_us()
            return before if before.end_time <= now else replace(before, revoke_time=now)

        key = await self._store.change(key_id, make)
        if key is None:
            raise unknown_key()
        log.info("api_key_revoked", key=key.id, subject=key.subject, by=caller.subject)
        return await self._told(key)

    def _check(self, subject: str, wanted: KeyWanted) -> None:
        if not subject.isprintable():
            raise Invalid.field("subject", "has characters that no caller's subject has")
        if not wanted.display_name.isprintable():
            raise Invalid.field("display_name", "has characters that are not printable")
        if wanted.ttl is not None and wanted.ttl > self._rules.max_ttl:
            raise Invalid.field("ttl", f"must be at most {self._rules.max_ttl:.12g} s here (keys.max_ttl_seconds)")

    async def _expiry_of(self, key_id: str) -> int:
        """Return when the key of the caller itself ends: what it makes does not outlive it."""
        own = (await self._store.find([key_id])).get(key_id)
        if own is None or own.end_time <= now_us():
            raise PermissionDenied("the API key of this call has ended meanwhile; use another")
        return own.expire_time

    async def _told(self, key: ApiKey) -> ApiKey:
        return self._used(key, await self._uses.last([key.id]))

    def _used(self, key: ApiKey, last: dict[str, int]) -> ApiKey:
        return replace(key, last_used_time=self._recent.latest(key.id, last.get(key.id)))


def _id_of(name: str) -> str:
    match = _NAME.match(name)
    if match is None:
        # The name is not repeated: somebody may have sent the key itself.
        raise Invalid.field("name", "is not the name of an API key; names look like apiKeys/ID")
    return match[1]

"""The id a caller gives a change, with a digest of everything else the caller sent."""

from __future__ import annotations

import hashlib

from google.protobuf.message import Message

from hibana_server.domain.callers import Caller
from hibana_server.domain.ids import now_us
from hibana_server.domain.requests import RequestKey


def request_key(caller: Caller, request_id: str, body: Message) -> RequestKey | None:
    """Return what tells this change from others; None without an id.

    `body` is a message that may carry the id too; it does not count. Its kind does: an id that was
    used for a deletion is no id for an update.
    """
    if not request_id:
        return None
    copy = type(body)()
    copy.CopyFrom(body)
    copy.ClearField("request_id")
    digest = hashlib.sha256(body.DESCRIPTOR.full_name.encode() + b"\0" + copy.SerializeToString(deterministic=True))
    return RequestKey(caller.subject, request_id, digest.digest(), now_us())

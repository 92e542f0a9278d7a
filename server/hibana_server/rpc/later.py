"""Methods that the contract names and a later release serves."""

from __future__ import annotations

from typing import Any, NoReturn

from hibana_server.domain.errors import Unimplemented


def later(method: str) -> Any:
    """Make a method that answers UNIMPLEMENTED with reason and next step."""

    async def refuse(_self: object, _request: object, _context: object) -> NoReturn:
        raise Unimplemented(f"{method} is in the contract but not served by this release; its README lists what is")

    refuse.__name__ = method
    refuse.not_served = True  # type: ignore[attr-defined] # the edge asks, which judges no rights to what is not there
    return refuse

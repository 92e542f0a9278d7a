"""Sends the wanted files of a guest that has ended."""

from __future__ import annotations

from hibana_server.sandbox.frames import Directory
from hibana_server.sandbox.worker.call_state import CallState


def deliver(directory: Directory, state: CallState) -> tuple[tuple[int, ...], bool]:
    """Send what the guest left of the wanted files.

    Returns their sizes, -1 for those that are not sent, and whether all that were left fit into the output limit.
    """
    sizes, whole, files = [], True, state.files
    for place, name in enumerate(directory.outputs):
        file = None if files is None else files.tree.output(name)
        if file is None:
            sizes.append(-1)
        elif state.send_file(place, file.data):
            sizes.append(file.size)
        else:
            sizes.append(-1)
            whole = False
    return tuple(sizes), whole

"""`python -m hibana_server` is `hibana-server`."""

from __future__ import annotations

from hibana_server.cli import main

main()

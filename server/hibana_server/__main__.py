"""`python -m hibana_server` is `hibana-server`."""

from hibana_server.cli import main

main()

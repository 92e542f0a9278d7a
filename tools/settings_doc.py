"""Write docs/settings.md from the settings classes and the sentences below their fields.

`--check` writes nothing and exits with 1 when the file is not what it would write.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
from pathlib import Path
from typing import get_type_hints

import msgspec

from hibana_server.settings import model
from hibana_server.settings.model import PREFIX, Settings

FILE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

HEAD = f"""\
# Settings

<!-- Written by `make generate` from server/hibana_server/settings. -->

`hibana-server serve` needs no settings. Each one below can come from three places; the later one wins:

1. the file named by `--config` (TOML),
2. the environment: `{PREFIX}` and the name in capitals, with `_` for the dot,
3. the options of the command line: `--data-dir`, `--listen`, `--http`, and `--sandboxes` for `pool.max_sandboxes`.

An unknown name, in the file or in the environment, is an error, so that a typing mistake never leaves a default in
force. Sizes are in bytes, times in seconds. In the environment `true`, `false`, `1` and `0` are read as booleans,
and lists are written with commas.
"""


def field_texts(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the sentence below each field of a settings class, those it inherits included."""
    texts: dict[str, str] = {}
    for base in kind.__bases__:
        if base is not msgspec.Struct:
            texts |= field_texts(base)
    body = next(node.body for node in ast.walk(ast.parse(inspect.getsource(kind))) if isinstance(node, ast.ClassDef))
    for statement, below in itertools.pairwise(body):
        match statement, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = " ".join(text.split())
    return texts


def sections() -> list[tuple[str, str, type[msgspec.Struct]]]:
    """Return (name, what it is about, class) of each section, those without a name first."""
    texts = field_texts(Settings)
    inner = [(n, k) for n, k in get_type_hints(Settings).items() if issubclass(k, msgspec.Struct)]
    return [("", "The service", Settings), *((n, texts[n].rstrip("."), k) for n, k in inner)]


def render() -> str:
    """Return the text of docs/settings.md."""
    parts = [HEAD]
    for section, about, kind in sections():
        parts.append(f"## {f'`[{section}]` · ' if section else ''}{about}\n")
        parts.append("| setting | default | what it does |\n|---|---|---|")
        texts, defaults = field_texts(kind), kind()
        for name, hint in get_type_hints(kind).items():
            if not (isinstance(hint, type) and issubclass(hint, msgspec.Struct)):
                default = msgspec.json.encode(getattr(defaults, name)).decode()
                parts.append(f"| `{name}` | `{default}` | {texts[name]} |")
        parts.append("")
    parts.append(_example())
    return "\n".join(parts)


def _example() -> str:
    return f"""\
## The same setting three times

```toml
# hibana.toml
[pool]
max_sandboxes = 8
```

```
hibana-server serve --config hibana.toml
{PREFIX}POOL_MAX_SANDBOXES=8 hibana-server serve
hibana-server serve --sandboxes 8
```
"""


def main() -> int:
    """Write or check the file."""
    text = render()
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text, encoding="utf-8")
        return 0
    if FILE.exists() and FILE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{FILE.name} is not what {Path(model.__file__).name} says: run 'make generate'", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

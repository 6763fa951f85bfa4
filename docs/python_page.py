"""The page of `import narl`: each name with its signature and its docstring. The code is read, not imported."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

from docstrings import markdown

ROOT = Path(__file__).parents[1]

HEAD = """# narl in Python

```python
import narl

result = narl.search("search_spaces/digits.yaml")  # or a narl.SearchSpace
best = narl.best_config(result.folder, budget_gflops=0.002, certified=True)
narl.train(best, out="model")  # metrics, obfuscator, server
print(narl.evaluate("model", seeds=3).interval95["delta"])  # or any torch.nn.Module of your own
probabilities = narl.load_bundle("model").query(images)  # [B, 3, S, S] in [0, 1]
```

The command line calls the same functions and prints what they return. `import narl` imports nothing else: each name
is imported when it is first used. Functions are silent; `on_progress=print` or `on_trial=print` shows what they do. All
that is random follows from seeds: those of the configuration, or `seeds=`. Errors are `narl.core.errors.NarlError`, with
the command line's messages, and `TrialFailure` where training blew up.

Three scripts that run in a minute or two on two CPU cores: [a search](../../examples/search.py), [a client of your
own](../../examples/own_client.py), [a trained client and its server](../../examples/bundle.py).
"""

# What functions take and return, with the methods that are worth knowing.
CLASSES = {
    "narl.SearchSpace": ("load", "changed"),
    "narl.Pipeline": ("load",),
    "narl.search.run.SearchResult": (),
    "narl.evaluation.final.FinalResult": ("metrics", "obfuscator", "server", "save"),
    "narl.evaluation.report.Summary": ("load",),
    "narl.methods.profile.ClientProfile": ("to_json",),
    "narl.export.bundle.Bundle": ("query",),
}


def page() -> str:
    """Markdown."""
    homes = homes_of_names()
    parts = [HEAD, "## Functions\n"]
    parts += [f"### narl.{name}\n\n{described(homes[name], name)}\n" for name in homes if name[0].islower()]
    parts.append("## What they take and return\n")
    for full, methods in CLASSES.items():
        module, _, name = full.rpartition(".")
        home = homes[name] if module == "narl" else module
        parts.append(f"### {full}\n\n{described(home, name)}\n")
        parts += [f"#### {name}.{method}\n\n{described(home, name, method)}\n" for method in methods]
    return "\n".join(parts)


def homes_of_names() -> dict[str, str]:
    """The module of each name that `import narl` gives, as type checkers are told it."""
    (block,) = (node for node in _read("narl").body if isinstance(node, ast.If))
    names = {alias.name: node.module for node in block.body for alias in node.names}
    return dict(sorted(names.items(), key=lambda item: item[0]))


def described(module: str, *path: str) -> str:
    """The head of a function or class of a module, from its decorators on, and its docstring below it."""
    node = _read(module)
    for name in path:
        (node,) = (each for each in node.body if getattr(each, "name", None) == name)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    head = _file(module).read_text(encoding="utf-8").split("\n")[first - 1 : node.body[0].lineno - 1]
    shown = dedent("\n".join(head))
    return f"```python\n{shown}\n```\n\n{markdown(ast.get_docstring(node) or '')}"


def _read(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text(encoding="utf-8"))


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

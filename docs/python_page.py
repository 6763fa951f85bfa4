"""Print docs/python.md: what `import narl` gives, each name with its signature and docstring as the code has them.

python docs/python_page.py > docs/python.md
"""

from __future__ import annotations

import inspect
from textwrap import dedent

import narl
from narl.evaluation.final import FinalResult
from narl.evaluation.report import Summary
from narl.export.bundle import Bundle
from narl.methods.profile import ClientProfile
from narl.search.run import SearchResult

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

Three scripts that run in a minute or two on two CPU cores: [a search](../examples/search.py), [a client of your
own](../examples/own_client.py), [a trained client and its server](../examples/bundle.py).

This page is printed by `python docs/python_page.py`.
"""

FUNCTIONS = {name: inspect.unwrap(getattr(narl, name)) for name in narl.__all__ if name[0].islower()}
# What they take and return, with the methods that are worth knowing.
CLASSES = {
    narl.SearchSpace: ("load", "changed"),
    narl.Pipeline: ("load",),
    SearchResult: (),
    FinalResult: ("metrics", "obfuscator", "server", "save"),
    Summary: ("load",),
    ClientProfile: ("to_json",),
    Bundle: ("query",),
}


def up_to_docstring(thing: object) -> str:
    """The source of a function or class, from its head to the end of its docstring."""
    thing = thing.fget if isinstance(thing, property) else thing
    source = dedent(inspect.getsource(thing))
    return source[: source.index('"""', source.index('"""') + 3) + 3]


def page() -> str:
    """docs/python.md."""
    parts = [HEAD, "## Functions\n"]
    for name, function in FUNCTIONS.items():
        parts.append(f"### narl.{name}\n\n```python\n{up_to_docstring(function)}\n```\n")
    parts.append("## What they take and return\n")
    for cls, methods in CLASSES.items():
        name = f"narl.{cls.__name__}" if cls.__name__ in narl.__all__ else f"{cls.__module__}.{cls.__name__}"
        said = [up_to_docstring(cls), *(up_to_docstring(inspect.getattr_static(cls, each)) for each in methods)]
        parts.append(f"### {name}\n\n```python\n" + "\n\n\n".join(said) + "\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")

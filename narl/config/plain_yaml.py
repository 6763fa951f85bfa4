"""YAML as a person means it: YAML 1.2's words and numbers, no tags, and bounds on what a few bytes may become.

PyYAML reads YAML 1.1, where `no` is false, 1:30 is 90 and 010 is 8. Here only what is written as a number is one;
anything else stays text, so that a model which wants a number refuses it in the file's own words.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

# Configurations are a few KB; these bounds stop files made to exhaust memory or stack.
MOST_BYTES = 1 << 20
MOST_VALUES = 100_000
DEEPEST = 50


def parse(text: str) -> Any:
    """Parse one document: mappings, lists, text, numbers, true, false and null.

    Raises:
        yaml.YAMLError: not YAML, a tag, a key given twice, or a bound exceeded; aliases count as what they stand for.
    """
    if len(text) > MOST_BYTES:
        raise yaml.YAMLError(f"more than {MOST_BYTES:,} characters")
    try:
        return yaml.load(text, Loader=_PlainYaml)
    except (ValueError, TypeError, LookupError, OverflowError) as error:  # PyYAML lets through what Python says
        raise yaml.YAMLError(str(error)) from error


class _PlainYaml(yaml.SafeLoader):
    """Loads what `parse` says."""

    yaml_implicit_resolvers = {
        first: [
            (tag, regexp) for tag, regexp in resolvers if tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._open = 0
        self._extent: dict[yaml.Node, tuple[int, int]] = {}  # values in it, levels of it

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if node is not None and node not in self._extent:
                raise yaml.YAMLError(f"alias within what it stands for{_line(node)}")
            return node
        self._open += 1
        if self._open > DEEPEST:
            raise yaml.YAMLError(f"nested deeper than {DEEPEST} levels")
        node = super().compose_node(parent, index)
        self._open -= 1
        if node is not None:
            self._measure(node)
        if isinstance(node, yaml.MappingNode):
            self._refuse_repeated_keys(node)
        return node

    def _refuse_repeated_keys(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                value = self.construct_object(key, deep=True)
                if (key.tag, value) in seen:
                    raise yaml.YAMLError(f"key {value!r} is given twice{_line(key)}")
                seen.add((key.tag, value))

    def _measure(self, node: yaml.Node) -> None:
        below = node.value if isinstance(node, yaml.CollectionNode) else []
        if isinstance(node, yaml.MappingNode):
            below = [part for pair in below for part in pair]
        extents = [self._extent[part] for part in below]
        count, levels = 1 + sum(count for count, _ in extents), 1 + max((levels for _, levels in extents), default=0)
        if count > MOST_VALUES:
            raise yaml.YAMLError(f"more than {MOST_VALUES:,} values, aliases written out")
        if levels > DEEPEST:
            raise yaml.YAMLError(f"nested deeper than {DEEPEST} levels, aliases written out")
        self._extent[node] = count, levels


def _line(node: yaml.Node) -> str:
    return f", line {node.start_mark.line + 1}"


# Each a part of YAML 1.1's, so that what PyYAML writes without quotes is read as it was: text that only 1.2 takes for a
# number, 1e5, stays text, and a model that wants a number takes it as well.
_NUMBER = r"[-+]?(?:0|[1-9][0-9]*)"
for name, pattern, first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", _NUMBER, "-+0123456789"),
    ("float", rf"(?:{_NUMBER}\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
):
    _PlainYaml.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{pattern})$"), list(first))

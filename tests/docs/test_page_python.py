"""Python of the pages names what there is: every import from narl, and every argument of narl's functions."""

from __future__ import annotations

import ast
import importlib
import inspect
import re

import pytest
from pages import backticks, blocks

import narl

BLOCKS = [block for block in blocks() if block.language == "python"]
CALLS = [code for code in backticks() if code.text.startswith("narl.") and code.text.endswith(")")]


@pytest.mark.parametrize("code", [*BLOCKS, *CALLS], ids=str)
def test_names_and_arguments_are_there(code):
    check(code.text)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("narl.searches('a.yaml')", "'narl' has no attribute 'searches'"),
        ("narl.search('a.yaml', trial=3)", "unexpected keyword argument 'trial'"),
        ("from narl.export.portable import client", "has no attribute 'client'"),
    ],
)
def test_a_mistake_is_told(wrong, message):
    with pytest.raises((AttributeError, TypeError), match=message):
        check(wrong)


def check(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "narl":
            for alias in node.names:
                getattr(importlib.import_module(node.module), alias.name)
        if isinstance(node, ast.Call) and (found := re.fullmatch(r"narl\.(\w+)", ast.unparse(node.func))):
            function = getattr(narl, found[1])
            inspect.signature(function).bind(*node.args, **{keyword.arg: None for keyword in node.keywords})

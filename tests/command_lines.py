"""Command lines as pages and cluster files show them, and whether they would be understood: nothing is run.

Each goes through the parser that would read it: narl's own, those of Ray and MLflow, those of scripts and benchmarks.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import runpy
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import get_args
from unittest import mock

import click
from pages import ROOT, Code, backticks, blocks

from narl.cli.main import build_parser

BROUGHT = {"pictures.py", "narl_measure.py"}  # scripts that are not the repository's: a page's, and a bundle's
PLACEHOLDERS = {"COMMAND"}  # for a word that chooses a parser


class NotUnderstood(Exception):
    """What is wrong with a command line."""


class Incomplete(NotUnderstood):
    """It lacks an argument, as when a sentence names a command."""


# --- where they are ---


def to_be_pasted() -> Iterator[Code]:
    """Each command of the pages' blocks, joined where it goes on over several lines."""
    for block in blocks():
        for match in re.finditer(r"(?:.*\\\n)*.+", "" if block.language else block.text):
            line = " ".join(match[0].replace("\\\n", " ").split())
            if programs_in(line):
                yield Code(block.page, block.number + block.text.count("\n", 0, match.start()), line)


def in_sentences() -> Iterator[Code]:
    """Commands, and options alone, in backticks."""
    for code in backticks():
        if code.text.startswith("--") or programs_in(code.text):
            yield code


# --- what they say ---


def commands_in(line: str) -> Iterator[list[str]]:
    """The words of each command of a shell's line, without variables that it sets and files that it writes."""
    line = re.sub(r"\$\([^)]*\)", "127.0.0.1", line)  # a shell's answer
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    command: list[str] = []
    for word in lexer:
        if word[:1] in tuple("<>"):
            next(lexer)
        elif word[:1] in tuple("();|&"):
            yield command
            command = []
        elif command or not re.match(r"\w+=", word):
            command.append(word)
    yield command


def programs_in(line: str) -> list[tuple[Callable[[list[str]], None], list[str]]]:
    """What understands each command of a line, with the words after its name; none, if it is no shell's line."""
    try:
        commands = [words for words in commands_in(line) if len(words) > 1]
    except ValueError:
        return []
    found = [(PROGRAMS.get(words[0].removeprefix(".venv/bin/")), words[1:]) for words in commands]
    return [(program, words) for program, words in found if program is not None]


def understand(line: str) -> None:
    """Have every command of a line parsed, and options that stand alone or in its comment looked up.

    Raises:
        NotUnderstood: an option, a value, a target, a module or a file that is not there.
        Incomplete: an argument that is not given.
    """
    alone = line if line.startswith("--") else line.partition("# ")[2]
    for option in re.findall(r"(?<!\S)--[a-z][\w-]*(?![\w…-])", alone):
        if option not in _options_of_any():
            raise NotUnderstood(f"no command has the option {option}")
    for program, words in programs_in(line):
        program(words)


def _narl(words: list[str]) -> None:
    if words[0] in PLACEHOLDERS:
        return
    args = _parsed(build_parser(), words)
    for name, allowed in _names().items():
        value = getattr(args, name, None)
        for one in value.split(",") if isinstance(value, str) else ():
            if one not in allowed:
                raise NotUnderstood(f"{one!r} is none of {name}")
    for value in vars(args).values():
        if isinstance(value, (str, Path)):
            _there(str(value))


def _ray(words: list[str]) -> None:
    from ray.scripts.scripts import cli

    given = _clicked(cli, words)
    if (file := given.get("cluster_config_file")) is not None:
        _there(f"cluster/{file}")
    if words[0] == "submit":
        _there(f"cluster/{given['script']}")
        arguments = runpy.run_path(str(ROOT / "cluster" / given["script"]))["arguments"]
        _narl(arguments(list(given["script_args"])))
    elif words[0] == "exec":
        understand(given["cmd"])


def _mlflow(words: list[str]) -> None:
    from mlflow.cli import cli

    _clicked(cli, words)


def _kubectl(words: list[str]) -> None:
    if "--" in words:
        understand(shlex.join(words[words.index("--") + 1 :]))


def _make(words: list[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for word in words:
        if "=" not in word and word not in targets:
            raise NotUnderstood(f"make has no target {word}")


def _pip(words: list[str]) -> None:
    extras = re.findall(r"^(\w+) =$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    for extra in re.findall(r"(?:narl|\.)\[(\w+)\]", " ".join(words)):
        if extra not in extras:
            raise NotUnderstood(f"narl has no extra {extra}")


def _python(words: list[str]) -> None:
    if words[:2] == ["-m", "pytest"]:
        for word in words[2:]:
            _there(word)
    elif words[0] == "-m" and words[1].startswith("benchmarks."):
        _script(words[1].replace(".", "/") + ".py", words[2:])
    elif words[0] != "-m" and words[0] not in BROUGHT:
        _script(words[0], words[1:])


def _script(name: str, words: list[str]) -> None:
    """Let a script parse these words, if it has a parser, and go no further."""
    path = ROOT / name
    if not path.is_file():
        raise NotUnderstood(f"{name} is not there")
    if "parse_args" not in path.read_text():
        return
    parse_args = argparse.ArgumentParser.parse_args

    class Enough(Exception):
        pass

    def only_parse(parser: argparse.ArgumentParser) -> None:
        _parsed(parser, words, parse_args)
        raise Enough

    main = runpy.run_path(str(path))["main"]
    with mock.patch.object(argparse.ArgumentParser, "parse_args", only_parse), contextlib.suppress(Enough):
        main()


PROGRAMS = {
    "narl": _narl,
    "ray": _ray,
    "mlflow": _mlflow,
    "kubectl": _kubectl,
    "make": _make,
    "pip": _pip,
    "python": _python,
}


# --- whether it is so ---


def _parsed(
    parser: argparse.ArgumentParser, words: list[str], parse_args=argparse.ArgumentParser.parse_args
) -> argparse.Namespace:
    """What the parser makes of these words; options are to be spelt out."""
    chosen = parser
    for word in words:
        for action in chosen._actions:
            if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                chosen = action.choices[word]
    for word in words:
        if word.startswith("--") and word.split("=")[0] not in chosen._option_string_actions:
            raise NotUnderstood(f"{chosen.prog} has no option {word}")
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return parse_args(parser, words)
    except SystemExit as end:
        if end.code == 0:  # --help, --version
            return argparse.Namespace()
        lacks = re.search("are required|expected (one|at least one) argument", said.getvalue())
        raise (Incomplete if lacks else NotUnderstood)(said.getvalue().strip()) from None


def _clicked(cli: click.Group, words: list[str]) -> dict[str, object]:
    """What a program that is made with click makes of these words."""
    command = cli.get_command(click.Context(cli), words[0])
    if command is None:
        raise NotUnderstood(f"{cli.name} has no command {words[0]!r}")
    try:
        return command.make_context(words[0], words[1:]).params
    except click.MissingParameter as error:
        raise Incomplete(error.format_message()) from None
    except click.ClickException as error:
        raise NotUnderstood(error.format_message()) from None


def _there(name: str) -> None:
    """Refuse a file in a folder of the repository that it does not have, unless a page gives it."""
    name = name.rpartition("narl-checkout/")[2]
    if "/" in name and (ROOT / name.split("/")[0]).is_dir() and name not in _given() and not (ROOT / name).exists():
        raise NotUnderstood(f"{name} is not there")


@cache
def _given() -> set[str]:
    """Files that pages give whole: the first line of their block names them."""
    return {found[1] for block in blocks() if (found := re.match(r"# (\S+\.yaml)\n", block.text))}


@cache
def _names() -> dict[str, set[str]]:
    """What arguments may list that narl looks up when the command runs."""
    from narl.attacks.catalogue import ATTACKS
    from narl.config.search_space import SamplerName
    from narl.config.trial import AdversaryName
    from narl.core.method_options import METHODS
    from narl.export.bundle import VARIANTS

    return {
        "attacks": {*ATTACKS},
        "adversaries": {*get_args(AdversaryName)},
        "methods": {*METHODS, "all"},
        "method": {*METHODS},
        "sampler": {*get_args(SamplerName)},
        "variants": {*VARIANTS},
    }


@cache
def _options_of_any() -> set[str]:
    """Every option of narl, of `ray start` and of a benchmark."""
    from ray.scripts.scripts import start

    parsers, options = [build_parser()], set()
    for parser in parsers:
        options |= {*parser._option_string_actions}
        for action in parser._actions:
            parsers += action.choices.values() if isinstance(action, argparse._SubParsersAction) else []
    for parameter in start.params:
        options |= {*parameter.opts}
    for path in ROOT.glob("benchmarks/*.py"):
        options |= {*re.findall(r'"(--[\w-]+)"', path.read_text())}
    return options

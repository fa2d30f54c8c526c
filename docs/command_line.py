"""The directive ``{command}``: what a program takes on its command line, as its parser says."""

import argparse
import contextlib
import os
import runpy
import subprocess
import sys
from typing import Any, Callable, Dict, Iterator, List
from unittest import mock

from docutils import nodes
from docutils.parsers.rst import Directive

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class _Found(BaseException):
    """Ends a program when it begins to read its command line."""


def parser_of(program: str) -> argparse.ArgumentParser:
    """The parser of ``python path/to/script.py`` or ``python -m sspq [COMMAND]``, from a run of it.

    Raises:
        KeyError: there is no such command.
    """
    words = program.split()
    if words[1] != "-m":
        parser = _first_parser(words[1:], lambda path: runpy.run_path(path, {}, "__main__"))
        parser.prog = program
        return parser
    parser = _first_parser(words[2:], lambda name: runpy.run_module(name, {}, "__main__"))
    return commands_of(parser)[words[3]] if words[3:] else parser


def _first_parser(argv: List[str], start: Callable[[str], object]) -> argparse.ArgumentParser:
    """The parser that a program reads its command line with; the program ends there."""

    def stop(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        raise _Found(parser)

    name = os.path.join(ROOT, argv[0]) if argv[0].endswith(".py") else argv[0]
    with mock.patch.object(argparse.ArgumentParser, "parse_known_args", stop), mock.patch.object(
        sys, "argv", argv
    ), mock.patch.object(sys, "path", [os.path.dirname(name), *sys.path]), _usual_environment():
        try:
            start(name)
        except _Found as found:
            return found.args[0]
    raise ValueError(f"{name}: reads no command line")


@contextlib.contextmanager
def _usual_environment() -> Iterator[None]:
    """Without data folders of whoever builds the pages, which would be shown as defaults."""
    with mock.patch.dict(os.environ, COLUMNS="90"):
        for name in ("Imagenet_Path", "CIFAR100_PATH"):
            os.environ.pop(name, None)
        yield


def commands_of(parser: argparse.ArgumentParser) -> Dict[str, argparse.ArgumentParser]:
    """The parsers of the commands of ``python -m sspq`` by name; of a script, none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for listed in action._choices_actions:
                action.choices[listed.dest].description = listed.help
            return dict(action.choices)
    return {}


def describe(parser: argparse.ArgumentParser) -> List[nodes.Node]:
    """Description, usage and a list of the arguments."""
    formatter = parser._get_formatter()
    usage = parser.format_usage().rstrip().replace("usage: ", "").replace("\n       ", "\n")
    found: List[nodes.Node] = [nodes.literal_block("", usage, language="text")]
    if parser.description:
        found.insert(0, nodes.paragraph("", " ".join(parser.description.split())))
    options = nodes.definition_list(classes=["options"])
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
            continue
        name = formatter._format_action_invocation(action)
        text = formatter._expand_help(action) if action.help else ""
        options += nodes.definition_list_item(
            "",
            nodes.term("", "", nodes.literal("", name)),
            nodes.definition("", nodes.paragraph("", text)),
        )
    return [*found, options] if len(options) else found


class Command(Directive):
    """``{command} python examples/slq.py``; of ``python -m sspq`` a section for each command.

    Of a shell script, what it prints with ``--help``.
    """

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> List[nodes.Node]:
        program = self.arguments[0]
        if program.startswith("bash "):
            command = [*program.split(), "--help"]
            text = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
            return [nodes.literal_block("", text.stdout.strip(), language="text")]
        parser = parser_of(program)
        commands = commands_of(parser)
        if not commands:
            return describe(parser)
        return [self._section(name, parser_of(f"{program} {name}")) for name in commands]

    def _section(self, name: str, parser: argparse.ArgumentParser) -> nodes.Node:
        section = nodes.section("", nodes.title("", name), *describe(parser), names=[name])
        self.state.document.note_implicit_target(section, section)
        return section


def setup(app: Any) -> Dict[str, bool]:
    app.add_directive("command", Command)
    return {"parallel_read_safe": True}

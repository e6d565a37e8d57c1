"""docs/aliases.md names options and files that there are."""

import importlib
import pkgutil
import re
from pathlib import Path

import src.commands

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    line.split(" | ") for line in (ROOT / "docs/aliases.md").read_text("utf-8").splitlines() if line.startswith("| ")
]


def options_of_commands():
    found = set()
    for module in pkgutil.iter_modules(src.commands.__path__):
        command = getattr(importlib.import_module(f"src.commands.{module.name}"), "COMMAND", None)
        if command is not None:
            found.update(option for action in command._parser(True)._actions for option in action.option_strings)
    return found


def test_options_and_files_are_there():
    known = options_of_commands()
    assert len(ROWS) > 40
    for row in ROWS:
        ours = row[1] + row[-1] * (len(row) == 3)
        assert set(re.findall(r"(?<!\S)`?(--\w+)", row[1])) <= known, row
        for path in re.findall(r"\b((?:eval|tools|scripts)/\w+\.(?:py|sh))", ours):
            assert (ROOT / path).is_file(), path


def test_values_are_choices():
    from src.config import definition_of

    for row in ROWS:
        for name, value in re.findall(r"--(pooling|scale_pooling|query_resize|head) (\w+)", row[1]):
            assert value in definition_of(name).metadata["choices"], row

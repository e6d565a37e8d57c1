"""Numbers that are none, negative or absurd are refused by every command, whichever of its own arguments takes them."""

import importlib

import pytest

from src import commands
from src.config import KEYS
from src.errors import UserError


def own_numbers():
    """(verb, option) of every argument of a command that is a number and no key of the recipe."""
    for verb in sorted(commands.verbs()):
        command = importlib.import_module(f"src.commands.{verb}").COMMAND
        for action in command._parser(everything=True)._actions:
            assert action.type not in (int, float), f"{verb}: {action.dest}"
            if getattr(action.type, "args", [None])[0] in (int, float) and action.dest not in KEYS:
                yield verb, action.dest


def arguments_with(verb, given):
    """The least that a command needs, with files that are not there, and ``given``."""
    actions = importlib.import_module(f"src.commands.{verb}").COMMAND._parser(everything=True)._actions
    needed = [action for action in actions if action.required and action.option_strings]
    return [*(f"{action.option_strings[0]}={(action.choices or ['none'])[0]}" for action in needed), given]


def test_there_are_such_arguments():
    assert {("search_images", "top_k"), ("choose_score_threshold", "features_per_photo")} < set(own_numbers())


@pytest.mark.parametrize("verb,option", list(own_numbers()))
def test_what_is_no_number_of_a_possible_size_is_refused(verb, option):
    command = importlib.import_module(f"src.commands.{verb}").COMMAND
    for text in ("nan", "inf", "-inf", "1e999", "99999999999", "-1", "9" * 5000, "abc", "", "\x1b[31m"):
        with pytest.raises(UserError, match=f"`{option}`(: | is )") as caught:
            command.parse(arguments_with(verb, f"--{option}={text}"))
        assert str(caught.value).isprintable() and len(str(caught.value)) < 300

"""The command line as somebody meets it who has never seen it."""

import click
import pytest

from gateway.main import main

COMMANDS = ("backup", "dump", "repair", "restore", "run", "verify")


def test_what_each_command_does_is_told_in_whole_sentences():
    context = click.Context(main, info_name="mqgateway", terminal_width=80)
    text = main.get_help(context)
    listed = text.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(line.endswith(".") and not line.endswith("...") for line in listed), text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for(name):
    command = main.commands[name]
    assert all(option.help for option in command.params if isinstance(option, click.Option))

"""The command `mqadmin`: RocketMQ's administration, by its names, options and columns, of our brokers and of its own.

Exit codes: 0; 1 for a command line that is not understood, and for what cannot be done, with one line on stderr.
"""

from __future__ import annotations

import asyncio
import os
import sys

from corduroy.client import Admin, ClientError
from gateway.admin import brokers, groups, messages, offsets, topics
from gateway.admin.command import Command, Failed, Given
from namesrv.command_line import UsageError, usage

COMMANDS = {each.name: each for family in (topics, groups, offsets, brokers, messages) for each in family.COMMANDS}
EX_FAILED = 1


def main() -> None:
    """The command."""
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """Do what the command line says and return the exit code."""
    if not words:
        print_help()
        return 0
    asked = words[1] if words[0] == "help" and len(words) == 2 else words[0]
    command = COMMANDS.get(asked)
    if command is None:
        print(f"The sub command {asked} not exist.")
        return EX_FAILED
    try:
        given = command.given(words[1:]) if words[0] != "help" else {"h": ""}
    except UsageError as error:
        print(error, file=sys.stderr)
        print(usage(f"mqadmin {command.name}", command.all_options))
        return EX_FAILED
    if "h" in given:
        print(usage(f"mqadmin {command.name}", command.all_options))
        return 0
    try:
        asyncio.run(_carry_out(command, given))
    except (ClientError, Failed) as error:
        print(f"mqadmin {command.name}: {' '.join(str(error).split())}", file=sys.stderr)
        return EX_FAILED
    except KeyboardInterrupt:
        return EX_FAILED
    return 0


def print_help() -> None:
    """What there is."""
    print("The most commonly used mqadmin commands are:")
    for command in COMMANDS.values():
        print(f"   {command.name:<35} {command.about}")
    print("\nSee 'mqadmin help <command>' for more information on a specific command.")


async def _carry_out(command: Command, given: Given) -> None:
    name_servers = given.get("n") or os.environ.get("NAMESRV_ADDR", "")
    if not name_servers:
        raise Failed("name server address is null; write -n HOST:PORT, or set NAMESRV_ADDR")
    async with Admin(name_servers) as admin:
        await command.run(admin, given)

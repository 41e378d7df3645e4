"""The command `mqgateway`: what it is asked on the command line, and one line when that cannot be."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from core.config import ConfigError
from core.errors import LogCorrupt, StoreRefused
from gateway import logs, settings
from gateway.cli.errors import EX_CANTCREAT, EX_CONFIG, EX_DATAERR, EX_IOERR, EX_UNAVAILABLE, Refused

if TYPE_CHECKING:
    from core.config import Config

SWITCH_SECONDS = 0.001  # how long a worker thread waits at most for the loop to let it run (rule 8.12)


class Asked(NamedTuple):
    """What the command line says of the configuration."""

    files: tuple[str, ...]
    data_dir: str | None
    assignments: tuple[str, ...]
    ready_file: str | None = None

    def then(self, other: Asked) -> Asked:
        """Both, the other one wins."""
        return Asked(
            self.files + other.files,
            other.data_dir or self.data_dir,
            self.assignments + other.assignments,
            other.ready_file or self.ready_file,
        )


def takes_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which configuration a command works with."""
    for option in (
        click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set a key, as log.flush=async."),
        click.option("--data-dir", metavar="DIR", help="Where the log and the state lie (key data_dir)."),
        click.option("--config", "files", multiple=True, metavar="FILE", help="A YAML file; later ones win."),
    ):
        command = option(command)
    return command


ready_file_option = click.option("--ready-file", metavar="FILE", help="Written as JSON when every listener accepts.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@takes_settings
@ready_file_option
@click.version_option(package_name="corduroy-mq")
@click.pass_context
def main(context: click.Context, /, **asked: Any) -> None:
    """CorduroyMQ: one broker, one log, several protocols. Without a command: run."""
    context.obj = Asked(**asked)
    if context.invoked_subcommand is None:
        run(configured(context.obj), context.obj.ready_file)


@main.command("run")
@takes_settings
@ready_file_option
@click.pass_obj
def run_command(before: Asked, /, **asked: Any) -> None:
    """Run the gateway."""
    both = before.then(Asked(**asked))
    run(configured(both), both.ready_file)


@main.command("verify")
@takes_settings
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="Of what is printed.")
@click.pass_obj
def verify_command(before: Asked, /, form: str, **asked: Any) -> None:
    """Check every record of the log, and the state against it.

    Changes nothing, and may run beside the broker. Exit code 65: something is wrong.
    """
    from gateway.cli import storage

    config = configured(before.then(Asked(**asked)))
    sys.exit(ended(lambda: storage.verify(Path(config.data_dir), config.log.segment_bytes, form)))


@main.command("backup")
@click.argument("to", metavar="DIRECTORY")
@takes_settings
@click.pass_obj
def backup_command(before: Asked, /, to: str, **asked: Any) -> None:
    """Copy the data directory, also of a running broker.

    DIRECTORY must not be there yet. A broker starts on it with --data-dir DIRECTORY.
    """
    from gateway.cli import storage

    config = configured(before.then(Asked(**asked)))
    sys.exit(ended(lambda: storage.backup(Path(config.data_dir), Path(to), config.log.segment_bytes)))


@main.command("repair")
@takes_settings
@click.option("--yes", "really", is_flag=True, help="Do it. Without this it only says what it would do.")
@click.pass_obj
def repair_command(before: Asked, /, really: bool, **asked: Any) -> None:
    """Mend a damaged data directory, and say what is lost.

    A broker starts on it afterwards. Without --yes nothing is changed, and exit code 65 says that something would be.
    """
    from gateway.cli import storage

    config = configured(before.then(Asked(**asked)))
    sys.exit(ended(lambda: storage.repair(Path(config.data_dir), config.log.segment_bytes, really=really)))


@main.command("dump")
@click.argument("to", metavar="FILE")
@takes_settings
@click.pass_obj
def dump_command(before: Asked, /, to: str, **asked: Any) -> None:
    """Write everything durable to a file, as JSON lines.

    FILE must not be there yet; it is compressed if its name ends with .gz. No broker may be running: dump a backup of
    it then. `mqgateway restore` makes a data directory of it.
    """
    from gateway.cli import storage

    config = configured(before.then(Asked(**asked)))
    sys.exit(ended(lambda: storage.dump(Path(config.data_dir), Path(to), config.log.segment_bytes)))


@main.command("restore")
@click.argument("file", metavar="FILE")
@takes_settings
@click.pass_obj
def restore_command(before: Asked, /, file: str, **asked: Any) -> None:
    """Make a new data directory from a dump.

    The dump may be one of another version of the broker.
    """
    from gateway.cli import storage

    config = configured(before.then(Asked(**asked)))
    sys.exit(ended(lambda: storage.restore(Path(config.data_dir), Path(file), config.log.segment_bytes)))


def configured(asked: Asked) -> Config:
    """The configuration, with logging as it says."""
    try:
        config = settings.load(asked.files, asked.assignments, os.environ, asked.data_dir).config
    except (settings.SettingsError, ConfigError) as error:
        fail(str(error), EX_CONFIG)
    logs.set_up(config.logging.level, config.logging.format)
    return config


def fail(text: str, code: int) -> None:
    """One line on stderr, and out."""
    print(f"mqgateway: {text}", file=sys.stderr)
    sys.exit(code)


def run(
    config: Config, ready_file: str | None, ready_line: Callable[[dict[str, str]], str] = lambda bound: "ready"
) -> None:
    """Run the service on its event loop, and exit with its code. The last two: see Service."""
    from core.state.snapshot import StoreDamaged
    from gateway.definitions import DefinitionsError
    from gateway.listeners import ListenError, TlsError
    from gateway.service import Service

    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        sys.exit(ended(lambda: _runner()(Service(config, ready_file, ready_line).run())))
    except ListenError as error:
        fail(str(error), EX_UNAVAILABLE)
    except (DefinitionsError, TlsError) as error:
        fail(str(error), EX_CONFIG)
    except StoreDamaged as error:
        start_again(config, str(error))


def start_again(config: Config, why: str) -> None:
    """Queues were being built from state/ when more of it turned out to be damaged than a first look had shown: the
    same command in the same process, with an empty one."""
    from core.disk.store import Store

    logging.getLogger("gateway").warning("state is damaged, rebuilding it from the log", extra={"error": why})
    try:
        Store(Path(config.data_dir) / "state").drop()
    except StoreRefused as error:
        fail(str(error), EX_CANTCREAT)
    sys.stderr.flush()
    os.execv(sys.executable, sys.orig_argv)


def ended(work: Callable[[], int]) -> int:
    """The exit code of what works on a data directory."""
    try:
        return work()
    except Refused as error:
        fail(str(error), error.code)
    except StoreRefused as error:
        fail(str(error), EX_CANTCREAT)
    except LogCorrupt as error:
        fail(str(error), EX_DATAERR)
    except OSError as error:
        fail(f"the data directory cannot be used: {error}", EX_IOERR)
    return 1


def _runner():
    """uvloop's run, or asyncio's where there is no uvloop for the platform."""
    try:
        import uvloop
    except ImportError:
        import asyncio

        logging.getLogger("gateway").info("uvloop is not installed: running on asyncio's loop, which is slower")
        return asyncio.run
    return uvloop.run


if __name__ == "__main__":
    main()

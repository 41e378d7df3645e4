"""The command `mqgateway`: read the configuration, run the service until a signal, say what went wrong in one line."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import click

from core.config import ConfigError
from core.errors import LogCorrupt, StoreRefused
from gateway import logs, settings

if TYPE_CHECKING:
    from core.config import Config

EX_DATAERR, EX_UNAVAILABLE, EX_CANTCREAT, EX_IOERR, EX_CONFIG = 65, 69, 73, 74, 78
SWITCH_SECONDS = 0.001  # how long a worker thread waits at most for the loop to let it run (rule 8.12)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("command", type=click.Choice(["run"]), default="run", required=False)
@click.option("--config", "files", multiple=True, metavar="FILE", help="A YAML file; later ones win.")
@click.option("--data-dir", metavar="DIR", help="Where the log and the state lie (key data_dir).")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Set a key, as log.flush=async.")
@click.option("--ready-file", metavar="FILE", help="Written as JSON when every listener accepts.")
@click.version_option(package_name="corduroy-mq")
def main(
    command: str, files: tuple[str, ...], data_dir: str | None, assignments: tuple[str, ...], ready_file: str | None
) -> None:
    """Run the CorduroyMQ gateway: one broker, one log, several protocols."""
    try:
        config = settings.load(files, assignments, os.environ, data_dir).config
    except (settings.SettingsError, ConfigError) as error:
        fail(str(error), EX_CONFIG)
    logs.set_up(config.logging.level, config.logging.format)
    sys.exit(run(config, ready_file))


def fail(text: str, code: int) -> None:
    """One line on stderr, and out."""
    print(f"mqgateway: {text}", file=sys.stderr)
    sys.exit(code)


def run(config: Config, ready_file: str | None) -> int:
    """Run the service on its event loop and return the exit code."""
    from gateway.definitions import DefinitionsError
    from gateway.listeners import ListenError, TlsError
    from gateway.service import Service

    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        return _runner()(Service(config, ready_file).run())
    except ListenError as error:
        fail(str(error), EX_UNAVAILABLE)
    except StoreRefused as error:
        fail(str(error), EX_CANTCREAT)
    except LogCorrupt as error:
        fail(str(error), EX_DATAERR)
    except (DefinitionsError, TlsError) as error:
        fail(str(error), EX_CONFIG)
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

"""How a command ends when it cannot do what was asked: one line on stderr, and an exit code of sysexits.h."""

from __future__ import annotations

EX_DATAERR, EX_NOINPUT, EX_UNAVAILABLE, EX_CANTCREAT, EX_IOERR, EX_CONFIG = 65, 66, 69, 73, 74, 78


class Refused(Exception):
    """The command cannot begin, or go on: its one line, and the exit code."""

    def __init__(self, text: str, code: int = EX_NOINPUT):
        super().__init__(text)
        self.code = code

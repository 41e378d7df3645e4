"""tests/clients/README.md: each row of the AMQP reference has a test that shows it, and each such test is there."""

import ast
import re

import pytest

from tests.architecture.tree import ROOT

TESTS = ROOT / "tests"
WANTED = {"C": 16, "R": 33, "E": 16, "Q": 10, "K": 8, "P": 4, "S": 3}  # rows of priority 1 and 2, by letter
ROW = re.compile(r"\| ([A-Z]\d+) \|(.*)\|(.*)\|")
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)(?:\[([^\]]+)\])?`")


def rows():
    """row -> [(file, test, case or None)]."""
    text = (TESTS / "clients" / "README.md").read_text()
    found = [ROW.fullmatch(line) for line in text.splitlines()]
    return {row[1]: [tuple(name.groups()) for name in NAMED.finditer(row[3])] for row in found if row}


def test_every_row_has_a_test():
    wanted = {f"{letter}{number}" for letter, count in WANTED.items() for number in range(1, count + 1)}
    table = rows()
    assert set(table) == wanted
    assert [row for row, tests in table.items() if not tests] == []


@pytest.mark.parametrize("file", sorted({file for tests in rows().values() for file, _, _ in tests}))
def test_every_test_that_is_named_is_there(file):
    text = (TESTS / file).read_text()
    there = {getattr(node, "name", None) for node in ast.walk(ast.parse(text))}
    named = [(test, case) for tests in rows().values() for each, test, case in tests if each == file]
    assert [test for test, _ in named if test not in there] == []
    assert [case for _, case in named if case is not None and f'"{case}"' not in text] == []

"""docs/guarantees.md: each promise has a test that proves it, and each such test is there."""

import ast
import re

import pytest

from tests.architecture.tree import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def promises():
    """[(promise, [(file, test)])]."""
    text = (ROOT / "docs" / "guarantees.md").read_text()
    table = text[text.index("|---|") : text.index("## Not promised")].splitlines()[1:]
    cells = [line.strip("|").rsplit("|", 1) for line in table if line]
    return [(promise.strip(), NAMED.findall(proof)) for promise, proof in cells]


@pytest.mark.parametrize(("promise", "tests"), promises(), ids=lambda value: str(value)[:40])
def test_a_promise_has_a_proof_that_is_there(promise, tests):
    assert tests, promise
    for file, test in tests:
        there = {getattr(node, "name", None) for node in ast.walk(ast.parse((ROOT / file).read_text()))}
        assert test in there, f"{file}::{test}"

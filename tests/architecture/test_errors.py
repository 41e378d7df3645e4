"""Whatever the core refuses, every protocol can say in its own codes."""

import importlib

import pytest

from core import errors
from tests.architecture.tree import ROOT

PROTOCOLS = sorted(file.parent.name for file in (ROOT / "protocols").glob("*/errors.py"))


def refusals(kind: type = errors.BrokerError) -> set[type]:
    """Every subclass of BrokerError that core/errors.py defines."""
    return {each for child in kind.__subclasses__() for each in (child, *refusals(child))}


def said(protocol: str) -> set[type]:
    """The error classes that are keys of any table in the protocol's errors.py."""
    module = importlib.import_module(f"protocols.{protocol}.errors")
    tables = [value for value in vars(module).values() if isinstance(value, dict)]
    return {key for table in tables for key in table if isinstance(key, type) and issubclass(key, errors.BrokerError)}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_refusal_of_the_core_has_an_entry_in_the_protocols_tables(protocol):
    defined_here = {each for each in refusals() if each.__module__ == errors.__name__}
    assert defined_here
    assert sorted(each.__name__ for each in defined_here - said(protocol)) == []

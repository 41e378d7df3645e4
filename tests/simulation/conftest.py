"""What a test here leaves behind: the core as it was."""

import sys
from types import ModuleType

import pytest

PACKAGES = ("core", "gateway", "protocols")


def constants() -> dict[str, object]:
    """What modules of ours say now, by dotted name: numbers, classes, functions."""
    return {
        f"{name}.{key}": value
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in PACKAGES
        for key, value in vars(module).items()
        if not isinstance(value, ModuleType)
    }


@pytest.fixture(autouse=True)
def leaves_no_trace():
    """A life that changed a constant would make other tests, in the same process, fail."""
    before = constants()
    yield
    after = constants()
    assert [name for name, value in before.items() if after[name] is not value] == []

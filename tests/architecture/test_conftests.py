"""What a folder's conftest says of its tests is said of no others: a run of all folders asks it about every test."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

TESTS = Path(__file__).parents[1]


class Item:
    """As much of a pytest item as the hooks look at."""

    def __init__(self, path):
        self.path = path
        self.marks = []

    def get_closest_marker(self, name):
        return name == "ours"

    def add_marker(self, marker):
        self.marks.append(marker.name)


@pytest.mark.parametrize("folder", ["clients", "crash"])
def test_the_hook_marks_the_tests_of_its_folder_only(folder, monkeypatch):
    conftest = importlib.import_module(f"tests.{folder}.conftest")
    monkeypatch.setenv("CORDUROY_TEST_AMQP", "127.0.0.1:1")
    monkeypatch.setattr(conftest, "EXTERNAL", "127.0.0.1:1", raising=False)
    config = SimpleNamespace(pluginmanager=SimpleNamespace(hasplugin=lambda name: True))
    inside, deeper = Item(TESTS / folder / "test_a.py"), Item(TESTS / folder / "deeper" / "test_a.py")
    outside = Item(TESTS / "core" / folder / "test_a.py")
    conftest.pytest_collection_modifyitems(config, [inside, deeper, outside])
    assert (inside.marks, deeper.marks, outside.marks) == (["timeout", "skip"], ["timeout", "skip"], [])


def test_folders_that_take_long_go_first_and_files_stay_together():
    conftest = importlib.import_module("tests.conftest")
    paths = [TESTS / name for name in ("clients/a.py", "core/a.py", "core/b.py", "crash/a.py", "crash/b.py", "z/a.py")]
    items = [Item(path) for path in paths]
    conftest.pytest_collection_modifyitems(items)
    assert [item.path for item in items] == [paths[at] for at in (3, 4, 0, 1, 2, 5)]

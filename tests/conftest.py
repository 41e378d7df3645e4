"""What all tests share: the first lines say whether the hot modules run compiled, and what takes long goes first."""

import os
from pathlib import Path

import hypothesis

import core

hypothesis.settings.register_profile("corduroy", deadline=None)  # the machine may be busy: time is not what they test
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "corduroy"))

# Folders whose files take long. With short files at the end two workers end together.
LONG_FIRST = ("simulation", "crash", "clients")
FOLDER = Path(__file__).parent


def pytest_configure(config) -> None:
    """Files are handed to workers in our order: xdist would have those with few tests last, however long they take."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items) -> None:
    """In that order, else as they came."""
    rank = {folder: number for number, folder in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(FOLDER).parts[0], len(rank)))


def pytest_report_header() -> str:
    """Compiled, or why not."""
    return f"corduroy: uncompiled: {core.uncompiled_because}" if core.uncompiled_because else "corduroy: compiled"

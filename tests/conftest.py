"""What all tests share: pytest's first lines say whether the hot modules run compiled."""

import os

import hypothesis

import core

hypothesis.settings.register_profile("corduroy", deadline=None)  # the machine may be busy: time is not what they test
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "corduroy"))


def pytest_report_header() -> str:
    """Compiled, or why not."""
    return f"corduroy: uncompiled: {core.uncompiled_because}" if core.uncompiled_because else "corduroy: compiled"

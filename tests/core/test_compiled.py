"""core/compiled.py: a stale binary never wins, in whatever order the packages are imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import compiled

SOURCE = "WHAT = 'source'\n"


@pytest.fixture
def checkout(tmp_path):
    """A checkout of three packages whose one compiled module, core/hot.py, was just built (its binary is not one)."""
    for package in ("core", "protocols", "gateway"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("import core\n")
    for name in ("__init__.py", "compiled.py"):
        (tmp_path / "core" / name).write_text((Path(compiled.ROOT) / "core" / name).read_text())
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "setup.py").touch()
    (tmp_path / "core" / "hot.py").write_text(SOURCE)
    (tmp_path / "core" / "hot.pxd").touch()
    (tmp_path / "core" / f"hot{compiled.BINARY_SUFFIX}").write_text("not a shared object")
    compiled.write_record(str(tmp_path), compiled.checksums(str(tmp_path)))
    return tmp_path


def run(checkout, code, **environment):
    """Run Python code in the checkout."""
    inherited = {name: value for name, value in os.environ.items() if name != "CORDUROY_PURE"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=checkout, env=inherited | environment, capture_output=True, text=True
    )


IMPORTS_HOT = "import core.hot; print(core.hot.WHAT)"


def test_a_binary_of_the_sources_as_they_are_is_taken(checkout):
    assert compiled.changed(str(checkout)) == []
    ran = run(checkout, IMPORTS_HOT)
    assert "ImportError" in ran.stderr and compiled.BINARY_SUFFIX in ran.stderr  # tried, and found to be none


@pytest.mark.parametrize("first", ["core", "gateway", "protocols"])
def test_an_edited_source_wins_with_one_line_that_names_it_and_the_command(checkout, first):
    (checkout / "core" / "hot.py").write_text("WHAT = 'edited'\n")
    ran = run(checkout, f"import {first}; {IMPORTS_HOT}")
    assert ran.stdout == "edited\n"
    assert ran.stderr.count("\n") == 1 and "core/hot.py" in ran.stderr and "make setup" in ran.stderr


def test_the_content_decides_not_the_time(checkout):
    hot = checkout / "core" / "hot.py"
    times = (hot.stat().st_atime, hot.stat().st_mtime)
    os.utime(hot, (times[0] + 60, times[1] + 60))
    assert compiled.changed(str(checkout)) == []
    hot.write_text("WHAT = 'edited'\n")
    os.utime(hot, times)
    assert compiled.changed(str(checkout)) == ["core/hot.py"]


@pytest.mark.parametrize("name", ["core/hot.pxd", "setup.py"])
def test_what_decides_how_a_module_is_compiled_counts_as_its_source(checkout, name):
    (checkout / name).write_text("# changed\n")
    assert compiled.changed(str(checkout)) == [name]
    assert run(checkout, IMPORTS_HOT).stdout == "source\n"


def test_a_binary_whose_module_is_gone_and_a_module_without_binary_are_changes(checkout):
    (checkout / "core" / "hot.py").rename(checkout / "core" / "cold.py")
    (checkout / "core" / "hot.pxd").rename(checkout / "core" / "cold.pxd")
    assert set(compiled.changed(str(checkout))) >= {"core/hot.py", "core/cold.py"}
    assert run(checkout, "import core.cold; print(core.cold.WHAT)").stdout == "source\n"


def test_binaries_without_a_record_are_not_trusted(checkout):
    os.remove(compiled.record_path(str(checkout)))
    assert run(checkout, IMPORTS_HOT).stdout == "source\n"


def test_nothing_compiled_is_no_reason_for_a_warning(checkout):
    os.remove(checkout / "core" / f"hot{compiled.BINARY_SUFFIX}")
    ran = run(checkout, "import core; print(core.uncompiled_because)")
    assert "not compiled" in ran.stdout and ran.stderr == ""


def test_an_installed_package_has_no_sources_to_compare(checkout):
    os.remove(checkout / "pyproject.toml")
    (checkout / "core" / "hot.py").write_text("WHAT = 'whatever its time'\n")
    ran = run(checkout, "import core; print(repr(core.uncompiled_because))")
    assert ran.stdout == "''\n" and ran.stderr == ""


def test_pure_runs_from_source_here_and_in_child_processes(checkout):
    child = f"import subprocess, sys, core; subprocess.run([sys.executable, '-c', {IMPORTS_HOT!r}])"
    ran = run(checkout, child, CORDUROY_PURE="1")
    assert ran.stdout == "source\n" and ran.stderr == ""


def test_the_children_of_a_process_that_found_a_stale_binary_do_as_it_does_and_say_nothing(checkout):
    (checkout / "core" / "hot.py").write_text("WHAT = 'edited'\n")
    child = f"import subprocess, sys, core; subprocess.run([sys.executable, '-c', {IMPORTS_HOT!r}])"
    ran = run(checkout, child)
    assert ran.stdout == "edited\n" and ran.stderr.count("\n") == 1

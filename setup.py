"""Compiles every module that has a .pxd beside it. All else about the distribution is in pyproject.toml.

CORDUROY_PURE=1    compile nothing
CORDUROY_STRICT=1  Cython's warnings are errors (`make test`): an annotation that it does not know is one it ignores
Without a C compiler the package installs and runs uncompiled.
"""

import os
import runpy
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = str(Path(__file__).resolve().parent)
compiled = runpy.run_path(f"{ROOT}/core/compiled.py")  # not an import: that would choose for this process
DIRECTIVES = {"language_level": 3, "nonecheck": True, "annotation_typing": True}
UNCOMPILED = "corduroy: no C compiler with Python's headers works here, so nothing is compiled: all runs, but slowly"


def can_compile() -> bool:
    """Whether a file that includes Python.h compiles."""
    command = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text("#include <Python.h>\n")
        command += [f"-I{sysconfig.get_path('include')}", "-c", str(probe), "-o", f"{folder}/probe.o"]
        try:
            return subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            return False


def extensions() -> list[Extension]:
    """The modules to compile, from the tree as it is."""
    if os.environ.get("CORDUROY_PURE", "0") not in ("", "0"):
        return []
    if os.name == "posix" and not can_compile():
        print(UNCOMPILED, file=sys.stderr)
        return []
    names = compiled["modules"](compiled["scan"](ROOT)[0])
    return [
        Extension(name.replace("/", "."), [f"{name}.py"], extra_compile_args=["-O2", "-g0"] * (os.name == "posix"))
        for name in names
    ]


class BuildExtensions(build_ext):
    """Cython, then the C compiler. In place (a checkout) it also records what was compiled, and removes what is not."""

    def run(self) -> None:
        """Build what changed."""
        if not self.extensions:
            return
        checksums = compiled["checksums"](ROOT)
        from Cython.Build import cythonize
        from Cython.Compiler import Options

        Options.warning_errors = os.environ.get("CORDUROY_STRICT") == "1"
        made = cythonize(
            [Extension(each.name, list(each.sources)) for each in self.extensions],
            build_dir="build/cython", nthreads=2, compiler_directives=DIRECTIVES,
            force=self.inplace and self._looks_unchanged(), quiet=self.verbose < 1,
        )  # fmt: skip
        sources = {each.name: each.sources for each in made}
        for each in self.extensions:
            each.sources = sources[each.name]
        super().run()
        if self.inplace:
            self._remove_orphans()
            compiled["write_record"](ROOT, checksums)

    def _looks_unchanged(self) -> bool:
        """Whether a source is not what was compiled although its time says so (a copied tree), or setup.py changed."""
        record = Path(compiled["record_path"](ROOT))
        if not record.exists():
            return False
        paths = [Path(path) for path in compiled["changed"](ROOT)]
        compiled_at = record.stat().st_mtime
        return any(path.name == "setup.py" or (path.exists() and path.stat().st_mtime < compiled_at) for path in paths)

    def _remove_orphans(self) -> None:
        """Delete binaries whose module is gone, or has no .pxd any more."""
        sources, binaries = compiled["scan"](ROOT)
        for name in set(binaries) - set(compiled["modules"](sources)):
            os.remove(os.path.join(ROOT, name + compiled["BINARY_SUFFIX"]))


setup(
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildExtensions},
    options={"build_ext": {"parallel": 2}},
)

"""Compiles the load driver into build/bench when its source has changed, and loads it from there.

`python -m tests.bench.build` only compiles. Nothing is put beside the source, so that no stale module can win over it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "bench"
MODULES = ("histogram", "driver", "native_driver")  # in the order in which they need each other
COMPILE = """
import sys
from Cython.Build import cythonize
from setuptools import Distribution, Extension
names, out = sys.argv[2:], sys.argv[1]
flags = ["-O2", "-g0"]
extensions = [Extension("tests.bench." + n, ["tests/bench/" + n + ".py"], extra_compile_args=flags) for n in names]
directives = {"language_level": 3, "nonecheck": True, "annotation_typing": True}
modules = cythonize(extensions, build_dir=out + "/c", compiler_directives=directives, quiet=True)
command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
command.build_lib, command.build_temp, command.parallel = out, out + "/o", 2
command.ensure_finalized()
command.run()
"""


class BuildError(Exception):
    """The driver could not be compiled; the text says why."""


def source_digest() -> str:
    """Changes with the source, the interpreter and this recipe."""
    digest = hashlib.sha256(sys.version.encode() + COMPILE.encode())
    for name in MODULES:
        digest.update((HERE / f"{name}.py").read_bytes() + (HERE / f"{name}.pxd").read_bytes())
    return digest.hexdigest()[:16]


def compiled_dir() -> Path:
    """Compile when this source has not been yet; the folder with its modules."""
    target = BUILD / f"driver-{source_digest()}"
    if target.exists():
        return target
    for old in BUILD.glob("driver-*"):
        shutil.rmtree(old)
    fresh = BUILD / f"fresh-{os.getpid()}"
    fresh.mkdir(parents=True)
    try:
        command = [sys.executable, "-c", COMPILE, str(fresh), *MODULES]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise BuildError(f"the load driver does not compile:\n{(done.stdout + done.stderr)[-2000:]}")
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


@functools.cache
def load_all() -> dict[str, ModuleType]:
    """Every one of MODULES, compiled."""
    folder = compiled_dir() / "tests" / "bench"
    modules = {}
    for name in MODULES:
        path = folder / (name + sysconfig.get_config_var("EXT_SUFFIX"))
        spec = importlib.util.spec_from_file_location(f"tests.bench.{name}", path)
        assert spec is not None and spec.loader is not None
        modules[name] = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = modules[name]
        spec.loader.exec_module(modules[name])
    return modules


def load_driver(name: str = "driver") -> ModuleType:
    """That one of MODULES: compiled, or with CORDUROY_PURE=1 as it stands (then it is the bottleneck)."""
    if os.environ.get("CORDUROY_PURE") == "1":
        return importlib.import_module(f"tests.bench.{name}")
    return load_all()[name]


if __name__ == "__main__":
    try:
        print(compiled_dir())
    except BuildError as error:
        raise SystemExit(str(error)) from None

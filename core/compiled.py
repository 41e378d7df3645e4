"""Which of our modules run compiled: decided once, before the first of them is imported.

A module with a .pxd beside it is compiled (setup.py), and Python then takes the binary, however old, before the source.
So the build records what it compiled, and a source checkout compares: if one source or the set of them has changed, all
modules run from source, because compiled ones reach into each other's structs and are one unit. CORDUROY_PURE=1 asks
for the same. An installed package has no record and needs none.

As a script: exit code 0 if what is compiled in this checkout is what its sources say, else 1 (`make setup` asks).
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from zlib import crc32

PACKAGES = ("core", "protocols", "gateway", "namesrv")
BINARY_SUFFIX = EXTENSION_SUFFIXES[0]  # this interpreter's own: another one's binaries do not count
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def scan(root: str) -> tuple[list[str], list[str]]:
    """Return (sources that decide what is compiled, binaries without their suffix), as paths relative to `root`."""
    sources, binaries = ["setup.py"], []
    folders = [package for package in PACKAGES if os.path.isdir(os.path.join(root, package))]
    for folder in folders:
        names = set()
        for entry in os.scandir(os.path.join(root, folder)):
            names.add(entry.name)
            if entry.is_dir() and entry.name != "__pycache__":
                folders.append(f"{folder}/{entry.name}")
        for name in names:
            if name.endswith(".pxd"):
                module = name[:-4] + ".py"
                sources += [f"{folder}/{each}" for each in (name, module) if each in names]
            elif name.endswith(BINARY_SUFFIX):
                binaries.append(f"{folder}/{name[: -len(BINARY_SUFFIX)]}")
    return sorted(sources), sorted(binaries)


def modules(sources: list[str]) -> list[str]:
    """Those of scan()'s sources that are compiled, as paths without suffix."""
    return [path[:-3] for path in sources if path.endswith(".py") and path != "setup.py"]


def record_path(root: str) -> str:
    """Where the build says what it compiled: a line `CRC-32 path` for each source."""
    return os.path.join(root, "build", f"compiled{BINARY_SUFFIX}.txt")


def checksums(root: str) -> list[str]:
    """What a build is about to compile: taken before it starts, so that an edit meanwhile counts as a change."""
    return [f"{_checksum(root, path)} {path}\n" for path in scan(root)[0]]


def write_record(root: str, lines: list[str]) -> None:
    """Note that the binaries in this checkout are those of the sources with these checksums()."""
    os.makedirs(os.path.join(root, "build"), exist_ok=True)
    with open(record_path(root), "w") as file:
        file.writelines(lines)


def changed(root: str) -> list[str]:
    """Return the paths at which the binaries in this checkout are not those of its sources: none is well."""
    sources, binaries = scan(root)
    paths = [f"{name}.py" for name in sorted(set(modules(sources)) ^ set(binaries))]
    try:
        with open(record_path(root)) as file:
            recorded = set(file.read().splitlines())
    except OSError:
        recorded = set()
    return paths + [path for path in sources if f"{_checksum(root, path)} {path}" not in recorded]


def _checksum(root: str, path: str) -> int:
    with open(os.path.join(root, path), "rb") as file:
        return crc32(file.read())


class SourceFinder:
    """Finds our packages' modules as source files only."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The import system's question; None for whatever is not ours."""
        if name.partition(".")[0] not in PACKAGES:
            return None
        for folder in path or (ROOT,):  # type: ignore[attr-defined]
            spec = FileFinder(folder, (SourceFileLoader, [".py"])).find_spec(name)
            if spec is not None and spec.loader is not None:
                return spec
        return None


def choose() -> str:
    """Choose for this process and its children. Return '' if the hot modules run compiled, else why they do not."""
    if os.environ.get("CORDUROY_PURE", "0") not in ("", "0"):
        sys.meta_path.insert(0, SourceFinder())
        return "CORDUROY_PURE is set"
    if not scan(ROOT)[1]:
        return "they were not compiled (is there a C compiler and Python's headers?)"
    if not os.path.exists(os.path.join(ROOT, "pyproject.toml")):
        return ""
    paths = changed(ROOT)
    if not paths:
        return ""
    what = f"{paths[0]} is not what was compiled"
    print(f"corduroy: {what}, so everything runs from source, slowly; `make setup` compiles it", file=sys.stderr)
    os.environ["CORDUROY_PURE"] = "1"  # children do as we do, and say nothing
    sys.meta_path.insert(0, SourceFinder())
    return what


if __name__ == "__main__":
    sys.exit(bool(changed(ROOT)))

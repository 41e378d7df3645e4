"""The project's source files as text and syntax trees; nothing of them is imported."""

import ast
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "protocols", "gateway", "namesrv", "corduroy")
CIMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))", re.MULTILINE)
COMPILED_IMPORT = "cython.cimports."


@cache
def sources() -> tuple[Path, ...]:
    """Every .py file of the application, relative to the root."""
    files = (file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    return tuple(sorted(file.relative_to(ROOT) for file in files))


@cache
def specifications() -> tuple[Path, ...]:
    """Every .py file of the tests, relative to the root."""
    return tuple(sorted(file.relative_to(ROOT) for file in (ROOT / "tests").rglob("*.py")))


@cache
def text(path: Path) -> str:
    """The file's text."""
    return (ROOT / path).read_text()


@cache
def tree(path: Path) -> ast.Module:
    """The file's syntax tree."""
    return ast.parse(text(path), str(path))


def offenders(paths: Iterable[Path], rule: Callable[[Path], list]) -> dict[str, list]:
    """What `rule` finds wrong in each of the files, by path; those without a finding are left out."""
    return {str(path): found for path in paths if (found := rule(path))}


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method in the file, at any depth."""
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def imports(path: Path) -> set[str]:
    """Every module that the file, or the .pxd beside it, imports, C imports too; relative names made absolute."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(path.parts[: -node.level]) + "." if node.level else ""
            module = above + (node.module or "")
            known = any((ROOT / module.replace(".", "/") / f"{alias.name}.py").exists() for alias in node.names)
            found.update(f"{module}.{alias.name}" for alias in node.names) if known else found.add(module)
    pxd = (ROOT / path).with_suffix(".pxd")
    if pxd.exists():
        found.update(first or second for first, second in CIMPORT.findall(pxd.read_text()))
    return {name.removeprefix(COMPILED_IMPORT).rstrip(".") for name in found}

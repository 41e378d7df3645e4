"""Files, functions, lines and parameter lists stay small enough to be read at once, and say what they are."""

import ast
from pathlib import Path

from tests.architecture.tree import PACKAGES, ROOT, functions, offenders, sources, specifications, text, tree

FILE_LINES_MAX, FUNCTION_LINES_MAX, LINE_CHARACTERS_MAX, PARAMETERS_MAX = 400, 60, 120, 5
C_DECORATORS = {"cfunc", "ccall"}  # a C function has no keyword-only parameters

EVERY_FILE = (*sources(), *specifications(), Path("setup.py"))


def positional(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many parameters a caller may give by position, `self` not counted."""
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def is_c(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is declared a C function."""
    return any(isinstance(each, ast.Attribute) and each.attr in C_DECORATORS for each in function.decorator_list)


def silent(path: Path) -> list[str]:
    """Public classes, functions and methods without a docstring; functions within functions are nobody's interface."""
    classes = [node for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)]
    scopes = [tree(path), *(node for node in classes if not node.name.startswith("_"))]
    named = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    members = [node for scope in scopes for node in scope.body if isinstance(node, named)]
    return [node.name for node in members if not node.name.startswith("_") and not ast.get_docstring(node)]


def test_files_are_small():
    def lines(path):
        count = len(text(path).splitlines())
        return [count] if count > FILE_LINES_MAX else []

    assert offenders(EVERY_FILE, lines) == {}


def test_lines_are_short():
    def long_lines(path):
        return [at for at, line in enumerate(text(path).splitlines(), 1) if len(line) > LINE_CHARACTERS_MAX]

    assert offenders(EVERY_FILE, long_lines) == {}


def test_functions_are_short():
    def long_functions(path):
        return [each.name for each in functions(path) if each.end_lineno - each.lineno >= FUNCTION_LINES_MAX]

    assert offenders(EVERY_FILE, long_functions) == {}


def test_whatever_goes_beyond_five_parameters_is_given_by_name():
    def wide(path):
        return [each.name for each in functions(path) if positional(each) > PARAMETERS_MAX and not is_c(each)]

    assert offenders(sources(), wide) == {}


def test_every_module_says_what_it_is():
    assert [str(path) for path in EVERY_FILE if not ast.get_docstring(tree(path))] == []


def test_everything_public_says_what_it_does():
    assert offenders(sources(), silent) == {}


def test_every_pxd_has_its_module():
    declared = [file for package in PACKAGES for file in (ROOT / package).rglob("*.pxd")]
    assert [str(file.relative_to(ROOT)) for file in declared if not file.with_suffix(".py").exists()] == []

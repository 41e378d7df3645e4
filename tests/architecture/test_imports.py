"""Who may import whom (ARCHITECTURE.md): arrows point down, never back, and protocols and parts never meet."""

from pathlib import Path

from tests.architecture.tree import ROOT, imports, offenders, sources, text

LAYERS = {"core": 0, "protocols": 1, "namesrv": 2, "gateway": 3}
CORE_RANKS = {
    **dict.fromkeys(("wire", "message", "errors", "config", "clock", "metrics", "turn", "compiled", "native"), 0),
    "log": 1,
    **dict.fromkeys(("queue", "routing"), 2),
    "state": 3,
    **dict.fromkeys(("broker", "making"), 5),
}
PART = 4  # whatever else lies in core/: publish, consume, topology, ...
IO_MODULES = {
    *("asyncio", "socket", "ssl", "select", "selectors", "socketserver", "subprocess", "multiprocessing", "signal"),
    *("threading", "concurrent", "http", "urllib", "lmdb", "aiohttp", "uvloop", "fcntl", "mmap"),
}
CLOCKS = {"time", "random", "uuid"}  # time and chance are injected, so that a seed repeats a run
NAMESRV_MAY_USE = tuple(f"protocols.remoting.{name}" for name in ("frame", "fields", "headers", "codes", "fastjson"))
ENTRY = ("core", "core.compiled")  # `import core` and what it runs: allowed everywhere


def rank(module: str) -> int:
    """The rank within core of `core.NAME...`."""
    return CORE_RANKS.get(module.split(".")[1], PART)


def ours(path: Path) -> list[str]:
    """What the file imports of the application."""
    return sorted(name for name in imports(path) if name.split(".")[0] in LAYERS and name not in ENTRY)


def module_of(path: Path) -> str:
    """`core/log/record.py` -> `core.log.record`."""
    return ".".join(path.with_suffix("").parts)


def against_the_direction(path: Path, module: str) -> bool:
    """Whether `path` may not import `module`, by the folders they lie in."""
    here, there = path.parts[0], module.split(".")[0]
    if here not in LAYERS or LAYERS[here] < LAYERS[there]:  # corduroy/, which users import, uses nothing of ours
        return True
    if here == "namesrv" and there == "protocols":
        return not module.startswith(NAMESRV_MAY_USE)
    if here == there == "protocols":
        return len(path.parts) > 2 and module.split(".")[1] not in (path.parts[1], "peer")
    return module.startswith("core.disk") and here != "gateway" and path.parts[:2] != ("core", "disk")


def back_within_core(path: Path) -> list[str]:
    """Imports of the same or a higher rank that `path`, in core/, may not have; core/disk has its own rule."""
    module = module_of(path)
    if path.parts[0] != "core" or path.parts[1] == "disk" or module in ENTRY or path.name == "__init__.py":
        return []
    here = rank(module)
    return [name for name in ours(path) if rank(name) > here or (rank(name) == here == PART and name != module)]


def may_do_io(path: Path) -> bool:
    """Sockets, threads and files belong to the gateway, the name server's process and core/disk."""
    return path.parts[0] in ("gateway", "corduroy") or path.parts[:2] in (("core", "disk"), ("namesrv", "main.py"))


def among(path: Path, forbidden: set[str]) -> list[str]:
    """Those imports of `path` whose top-level package is forbidden."""
    return sorted(name for name in imports(path) if name.split(".")[0] in forbidden)


def test_imports_point_down_and_protocols_never_meet():
    def back(path):
        return [module for module in ours(path) if against_the_direction(path, module)]

    assert offenders(sources(), back) == {}


def test_within_core_imports_point_down_and_parts_never_meet():
    assert offenders(sources(), back_within_core) == {}


def test_only_the_edges_do_input_and_output():
    inner = [path for path in sources() if not may_do_io(path)]
    assert offenders(inner, lambda path: among(path, IO_MODULES)) == {}


def test_time_and_chance_come_from_the_edges_and_the_clock():
    inner = [path for path in sources() if not may_do_io(path) and path != Path("core/clock.py")]
    assert offenders(inner, lambda path: among(path, CLOCKS)) == {}


def test_a_module_that_imports_cython_has_a_pxd_so_that_it_is_compiled():
    uncompiled = [path for path in sources() if not (ROOT / path).with_suffix(".pxd").exists()]
    assert offenders(uncompiled, lambda path: among(path, {"cython"})) == {}


def test_every_package_imports_core_first_so_that_stale_binaries_are_never_taken():
    for package in ("protocols", "gateway", "namesrv"):
        if (ROOT / package).exists():
            assert "\nimport core" in text(Path(package, "__init__.py")), package

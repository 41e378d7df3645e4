"""Building the programs in go/, node/, java/ (AMQP) and native_*/ (RocketMQ) with each language's own tools, once per
content, into a cache folder.

A tool that is missing, or packages that cannot be had (no network), are reasons to skip; a program that does not
compile is a failure.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILD_SECONDS = 300
FETCH_SECONDS = 240


def cache() -> Path:
    """Where what is fetched and built for the tests is kept from run to run."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "corduroymq-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def once(name: str, make: Callable[[Path], None]) -> Path:
    """The cached folder `name`; `make` fills it the first time, elsewhere, so that half of it is never seen."""
    there = cache() / name
    if not there.exists():
        with tempfile.TemporaryDirectory(dir=cache()) as scratch:
            work = Path(scratch, "work")
            work.mkdir()
            make(work)
            try:
                work.rename(there)
            except OSError:  # another run was faster
                assert there.exists()
    return there


def fetched(what: str, command: list[str], folder: Path, **environment: str) -> None:
    """Run what needs the network; skip when it fails."""
    try:
        subprocess.run(
            command,
            cwd=folder,
            env=os.environ | environment,
            check=True,
            timeout=FETCH_SECONDS,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what}: not here within {FETCH_SECONDS} s")
    except subprocess.CalledProcessError as failed:
        pytest.skip(f"{what} cannot be had: {(failed.stderr + failed.stdout).strip()[-300:]}")


def compiled(command: list[str], folder: Path) -> None:
    """Run a compiler; its complaints are the failure."""
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


def need(*tools: str) -> None:
    """Skip unless all these programs are in PATH."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def build_go(folder: Path) -> None:
    """go.mod's modules, then the program."""
    need("go")
    fetched("Go modules", ["go", "mod", "download"], folder)
    compiled(["go", "build", "-o", "program", "."], folder)


def build_node(folder: Path) -> None:
    """package-lock.json's packages; nothing to compile."""
    need("node", "npm")
    fetched("npm packages", ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder)


def build_java(folder: Path) -> None:
    """pom.xml's jars, then the classes."""
    need("java", "javac", "mvn")
    jars = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'jars'}"]
    fetched("Maven's jars", jars, folder)
    sources = sorted(each.name for each in folder.glob("*.java"))
    compiled(["javac", "-Xlint:all", "-Werror", "-cp", "jars/*", *sources], folder)


def build_cpp(folder: Path) -> None:
    """The wheel that has the C++ client, and a Python binding of it."""
    wheel = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), "rocketmq==0.4.4"]
    fetched("librocketmq", wheel, folder)


GO = ["./program"]
NODE = ["node", "main.js"]
BUILDERS = {
    "go": build_go,
    "node": build_node,
    "java": build_java,
    "native_go": build_go,
    "native_java": build_java,
    "native_node": build_node,
    "native_cpp": build_cpp,
}
COMMANDS = {
    "go": GO,
    "node": NODE,
    "java": ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", ".:jars/*", "Main"],
    "native_go": GO,
    "native_node": NODE,
    "native_cpp": [sys.executable, "main.py"],
    "native_java": ["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", ".:jars/*", "Main"],
}


def program(name: str) -> tuple[list[str], Path]:
    """The command that runs the program in folder `name`, and where to run it."""
    source = HERE / name
    files = sorted(each for each in source.iterdir() if each.is_file())
    digest = hashlib.sha256()
    for each in files:
        digest.update(f"{each.name}\0{each.stat().st_size}\0".encode() + each.read_bytes())

    def make(folder: Path) -> None:
        for each in files:
            shutil.copy(each, folder)
        BUILDERS[name](folder)

    return COMMANDS[name], once(f"{name}-{digest.hexdigest()[:16]}", make)

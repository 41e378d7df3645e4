"""Where the configuration comes from: command line over environment over YAML files, the last first, over defaults.

Every value keeps its origin, so that a refusal can say where to look and `effective` can show who decided. Unknown
keys and values that cannot work are refused before anything starts. A value in a file has its YAML type; on the
command line and in the environment it is text, a list separated by commas.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
import yaml

from core.config import SHARES_OF_SEGMENT, Config, ConfigError

ENVIRONMENT_PREFIX = "CORDUROY__"
FILE_BYTES_MAX = 1 << 20
DEPTH_MAX = 16
DEFAULT = "default"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class SettingsError(Exception):
    """The configuration cannot be used. One line: origin, key, value, what is allowed, the nearest match."""


class Key(NamedTuple):
    """A configuration key: its field's type and its default."""

    type: Any
    default: Any


class Entry(NamedTuple):
    """One value as a source gave it. `text`: it has no type of its own yet."""

    key: str
    value: Any
    origin: str
    text: bool


class Settings(NamedTuple):
    """The configuration, and for each dotted key where its value came from."""

    config: Config
    origins: dict[str, str]


def _list_keys() -> dict[str, Key]:
    keys = {}
    for field in msgspec.structs.fields(Config):
        if not isinstance(field.default, msgspec.Struct):
            keys[field.name] = Key(field.type, field.default)
            continue
        for inner in msgspec.structs.fields(field.type):
            keys[f"{field.name}.{inner.encode_name}"] = Key(inner.type, inner.default)
    return keys


KEYS: dict[str, Key] = _list_keys()
LOWERED = {key.lower(): key for key in KEYS}
GROUPS = {key.partition(".")[0] for key in KEYS if "." in key}


def load(
    files: Iterable[str] = (),
    assignments: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    data_dir: str | None = None,
    first: Iterable[Entry] = (),
) -> Settings:
    """Read the configuration. `files`: paths of YAML files, later ones win; `assignments`: the texts of --set,
    KEY=VALUE; `environment`: usually os.environ; `data_dir`: the text of --data-dir; `first`: what counts unless one of
    these says otherwise, of two with one key the last. Raises SettingsError."""
    entries = {entry.key: entry for entry in first}
    for path in files:
        for entry in read_file(path):
            entries[entry.key] = entry
    for entry in _environment_entries(environment or {}):
        entries[entry.key] = entry
    for entry in _assignment_entries(assignments):
        entries[entry.key] = entry
    if data_dir is not None:
        entries["data_dir"] = Entry("data_dir", data_dir, "--data-dir", True)
    return _settle(entries)


def effective(settings: Settings) -> dict[str, dict[str, object]]:
    """Return every key with its value and its origin, for showing: {"log.flush": {"value": …, "origin": …}}."""
    return {key: {"value": value_of(settings.config, key), "origin": settings.origins[key]} for key in KEYS}


def value_of(config: Config, key: str) -> object:
    """Return the value of a dotted key, which must exist."""
    value: Any = config
    for name in key.split("."):
        names = {field.encode_name: field.name for field in msgspec.structs.fields(value)}
        value = getattr(value, names[name])
    return value


def read_file(path: str) -> Iterator[Entry]:
    """Return the entries of one YAML file, keys nested or dotted. Raises SettingsError with file and line."""
    text = _read_text(path)
    seen: dict[str, str] = {}
    try:
        for entry in _parse(text, path):
            if entry.key in seen:
                raise SettingsError(f"{entry.origin}: {entry.key}: stands already in {seen[entry.key]}")
            seen[entry.key] = entry.origin
            yield entry
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path} line {mark.line + 1}" if mark else path
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SettingsError(f"{where}: not valid YAML: {problem}") from None


def _check_depth(text: str, path: str) -> None:
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise SettingsError(f"{path}: is nested too deeply; keys have at most two parts")


def _parse(text: str, path: str) -> Iterator[Entry]:
    _check_depth(text, path)  # libyaml composes by recursion in C, without a limit
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None or _is_null(root):
            return
        if not isinstance(root, yaml.MappingNode):
            raise SettingsError(f"{path}: holds no keys; a configuration file is a mapping of keys to values")
        yield from _walk(loader, root, "", path)
    finally:
        loader.dispose()


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > FILE_BYTES_MAX:
        raise SettingsError(f"{path}: is larger than {FILE_BYTES_MAX} bytes; this is no configuration file")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 at byte {error.start}") from None


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def _walk(loader: Any, mapping: yaml.MappingNode, prefix: str, path: str) -> Iterator[Entry]:
    for key_node, node in mapping.value:
        origin = f"{path} line {key_node.start_mark.line + 1}"
        name = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
        key = prefix + name
        if key in GROUPS and _is_null(node):
            continue  # a group whose keys are all commented out
        if key in GROUPS and isinstance(node, yaml.MappingNode):
            yield from _walk(loader, node, key + ".", path)
            continue
        _check_known(key, origin)
        if _is_null(node):
            raise SettingsError(f"{origin}: {key}: has no value; allowed: {_allowed(KEYS[key].type)}")
        # Text stays as it is written: YAML would read a bare off as false, and 10:30 as a number.
        plain = isinstance(node, yaml.ScalarNode) and _is_textual(KEYS[key].type)
        try:
            value = node.value if plain else loader.construct_object(node, deep=True)
        except ValueError:  # the 99th of a month
            raise _refuse(key, node.value, origin) from None
        yield Entry(key, value, origin, False)


def _environment_entries(environment: Mapping[str, str]) -> Iterator[Entry]:
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX):
            key = name[len(ENVIRONMENT_PREFIX) :].lower().replace("__", ".")
            key = LOWERED.get(key, key)  # RocketMQ's keys have capitals
            origin = f"environment {name}"
            _check_known(key, origin)
            yield Entry(key, environment[name], origin, True)


def _assignment_entries(assignments: Iterable[str]) -> Iterator[Entry]:
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        key = key.strip()
        if not equals:
            raise SettingsError(f"--set {assignment}: has no value; write --set KEY=VALUE")
        _check_known(key, "--set")
        yield Entry(key, value, "--set", True)


def _check_known(key: str, origin: str) -> None:
    if key in KEYS:
        return
    group = key.partition(".")[0]
    members = ", ".join(known.partition(".")[2] for known in KEYS if known.startswith(group + "."))
    if key in GROUPS:
        raise SettingsError(f"{origin}: {key}: is a group of keys, not a key; its keys: {members}")
    near = difflib.get_close_matches(key, KEYS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    if members:
        raise SettingsError(f"{origin}: {key}: unknown key; {hint}allowed in {group}: {members}")
    first = ", ".join(dict.fromkeys(known.partition(".")[0] for known in KEYS))
    raise SettingsError(f"{origin}: {key}: unknown key; {hint}a key begins with one of: {first}")


def _is_textual(kind: Any) -> bool:
    return kind is str or get_origin(kind) is Literal


def _allowed(kind: Any) -> str:
    if kind is str:
        return "a text"
    if kind is int:
        return "a whole number"
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    return "a list of texts"


def _refuse(key: str, value: object, origin: str) -> SettingsError:
    return SettingsError(f"{origin}: {key}: {value!r} is not allowed; allowed: {_allowed(KEYS[key].type)}")


def _convert(entry: Entry) -> object:
    kind, value = KEYS[entry.key].type, entry.value
    if entry.text and get_origin(kind) is tuple:
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return msgspec.convert(value, kind, strict=not entry.text)
    except msgspec.ValidationError:
        raise _refuse(entry.key, entry.value, entry.origin) from None


def _settle(entries: dict[str, Entry]) -> Settings:
    values = {key: known.default for key, known in KEYS.items()}
    origins = dict.fromkeys(KEYS, DEFAULT)
    for entry in entries.values():
        values[entry.key], origins[entry.key] = _convert(entry), entry.origin
    for key, share in SHARES_OF_SEGMENT.items():
        bound = values["log.segment_bytes"] // share
        if key not in entries and values[key] > bound:
            values[key], origins[key] = bound, f"{DEFAULT}, lowered to fit log.segment_bytes"
    try:
        return Settings(_build(values), origins)
    except ConfigError as error:
        raise SettingsError(f"{origins[error.key]}: {error}") from None


def _build(values: dict[str, Any]) -> Config:
    arguments: dict[str, Any] = {}
    for field in msgspec.structs.fields(Config):
        if field.name in GROUPS:
            prefix = field.name + "."
            names = {inner.encode_name: inner.name for inner in msgspec.structs.fields(field.type)}
            inner = {names[key[len(prefix) :]]: value for key, value in values.items() if key.startswith(prefix)}
            arguments[field.name] = field.type(**inner)
        else:
            arguments[field.name] = values[field.name]
    return Config(**arguments)

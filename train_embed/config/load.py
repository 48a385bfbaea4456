"""A run's configuration from a preset or YAML file and `--set key=value`; everything wrong with it in one line.

The sections stand in `schema` and `loss_schema`, the whole in `run_config`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fewshot_seg.errors import ConfigError
from fewshot_seg.files import regular
from train_embed.config.run_config import RunConfig
from train_embed.config.yaml_text import parse_yaml, to_yaml_text

SHOWN = 3  # errors in one line
SUFFIXES = (".yaml", ".yml")
WANTED = {"data.train_classes": "a number of classes, a share within 0 and 1, or a list of names"}
"""What a key takes whose types pydantic complains of one by one."""


def load_config(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration that `source` describes, changed by `overrides`.

    Args:
        source: a preset's name, the path of a YAML file, or a mapping of sections to keys to values. A preset's
            name wins over a file called the same (write "./NAME" for the file).
        overrides: "section.key=value" each, the value in YAML; later ones win.

    Raises:
        ConfigError: no such preset or file, no YAML, an unknown key, a wrong type, an impossible combination.
    """
    if isinstance(source, Mapping):
        values, origin = dict(source), ""
    else:
        values, origin = read_mapping(str(source)), f"{source}: "
    for text in overrides:
        path, value = parse_override(text)
        values = _merged(values, _nested(path, value))
    try:
        return from_mapping(values)
    except ConfigError as error:
        raise ConfigError(f"{origin}{error}") from error


def from_mapping(values: Mapping[str, Any]) -> RunConfig:
    """The configuration of nested plain values; what is left out has its default. Errors as `load_config`."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from error


def to_mapping(config: RunConfig) -> dict[str, Any]:
    """JSON values of every key; `from_mapping` takes them back."""
    values = config.model_dump()
    root = config.data.root
    values["data"]["root"] = None if root is None else str(root)
    for section in values.values():
        section.update({key: list(value) for key, value in section.items() if isinstance(value, tuple)})
    return values


def to_yaml(config: RunConfig) -> str:
    """Every key, as YAML; `load_config` takes it back."""
    return to_yaml_text(to_mapping(config))


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """("section", "key") and the value of "section.key=value"; the value is YAML, nothing at all means null.

    Raises:
        ConfigError: no "=", an empty part of the key, or a value that is no YAML.
    """
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise ConfigError(f"--set takes SECTION.KEY=VALUE, got {text!r}")
    return path, parse_yaml(value, f"--set {key.strip()}")


def preset_names() -> tuple[str, ...]:
    """The presets that come with the package."""
    folder = resources.files("train_embed") / "presets"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def preset_text(name: str) -> str:
    """A preset's YAML; its first line is a comment that says what it is for. ConfigError: there is none such."""
    if name not in preset_names():
        raise ConfigError(f"no preset {name!r}: {_near(name, preset_names())}")
    return (resources.files("train_embed") / "presets" / f"{name}.yaml").read_text("utf-8")


def valid_keys() -> tuple[str, ...]:
    """Every key, dotted: "data.kind", ..."""
    return tuple(
        f"{section}.{key}"
        for section, info in RunConfig.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
        for key in info.annotation.model_fields
    )


def read_mapping(source: str) -> dict[str, Any]:
    """The values of a preset or YAML file as they stand there, unchecked; ConfigError where none can be read."""
    if source in preset_names():
        text = preset_text(source)
    else:
        path = Path(source)
        if not path.exists() and len(path.parts) == 1 and path.suffix not in SUFFIXES:
            raise ConfigError(f"no preset or file {source!r}: {_near(source, preset_names())}")
        try:
            text = regular(path).read_text("utf-8")
        except FileNotFoundError as error:
            raise ConfigError(f"no such file: {path}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'no UTF-8 text'}") from error
    values = parse_yaml(text, source)
    if not isinstance(values, dict):
        raise ConfigError(
            f"{source}: a configuration is sections of keys and values, such as 'loss: {{name: triplet}}'"
        )
    return values


def _merged(old: Any, new: Any) -> Any:
    """`new` over `old`, key by key where both are mappings."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    return old | {key: _merged(old.get(key), value) for key, value in new.items()}


def _nested(path: Sequence[str], value: Any) -> Any:
    return {path[0]: _nested(path[1:], value)} if path else value


def _one_line(error: ValidationError) -> str:
    found: dict[str, str] = {}
    for entry in error.errors(include_url=False):
        key, message = _explain(entry["type"], entry["loc"], entry["msg"], entry["input"])
        found.setdefault(key, message)  # a union complains once for each of its types
    messages = list(found.values())
    more = f"; and {len(messages) - SHOWN} more" if len(messages) > SHOWN else ""
    return "; ".join(messages[:SHOWN]) + more


def _explain(kind: str, location: Sequence[int | str], message: str, value: Any) -> tuple[str, str]:
    """The dotted key and a message about it."""
    if not location:
        return "", message.removeprefix("Value error, ")
    if kind == "extra_forbidden":
        key = ".".join(map(str, location))
        return key, f"unknown key {key!r}: {_near_key(key)}"
    key = ".".join(map(str, location[:2]))  # behind it stand the types of a union, the places in a list
    if key in WANTED:
        return key, f"{key} must be {WANTED[key]}, got {value!r}"
    if kind == "model_type":
        return key, f"{key} is a section of keys and values, got {value!r}"
    return key, f"{key}: {message[:1].lower()}{message[1:]}, got {value!r}"


def _near_key(key: str) -> str:
    keys = valid_keys()
    if key in keys:
        section, _, leaf = key.partition(".")
        return f"write {leaf} under a section {section}"
    leaf = key.rpartition(".")[2]
    same = [valid for valid in keys if valid.rpartition(".")[2] == leaf]
    if same:
        return f"the nearest is {' or '.join(same)}"
    sections = tuple(RunConfig.model_fields)
    return _near(key, sections + keys if "." not in key else keys)


def _near(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if not near:  # by the last part alone
        leaves = {valid.rpartition(".")[2]: valid for valid in names}
        near = [leaves[leaf] for leaf in difflib.get_close_matches(name.rpartition(".")[2], leaves, n=1, cutoff=0.5)]
    return f"the nearest is {near[0]}" if near else f"choose from {', '.join(sorted({n.split('.')[0] for n in names}))}"

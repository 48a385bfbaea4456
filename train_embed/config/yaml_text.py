"""YAML by the core rules of its version 1.2: `1e-4` is a number, `no` and `on` are words, no key stands twice."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from fewshot_seg.errors import ConfigError


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML 1.2's core rules, and no key twice."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of `node`."""
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key stands there twice", node.start_mark)
        return mapping


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes exactly what `_Loader` would take for something else."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _class in (_Loader, _Dumper):
    for _tag, _pattern, _first in (
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("int", r"[-+]?[0-9]+", list("-+0123456789")),
        (
            "float",
            r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
            list("-+.0123456789"),
        ),
    ):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)
_BREAKS = re.compile("[\x85\u2028\u2029]")  # line breaks to YAML 1.1, so that a reader would fold them into a blank
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if _BREAKS.search(text) else None
    ),
)
# Decimal always: YAML 1.1, and with it PyYAML, takes 010 for eight.
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))


def parse_yaml(text: str, origin: str) -> Any:
    """The value that `text` describes; no code is run, no class but YAML's own is built.

    `origin` says in messages where it is from.

    Raises:
        ConfigError: it is no YAML, or has a key twice.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{origin} is no YAML{place}: {reason}") from error


def to_yaml_text(value: Any) -> str:
    """YAML that `parse_yaml` reads back to `value`, which is of dicts, lists, text, numbers, booleans and None."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return text

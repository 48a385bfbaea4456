"""Options stated once: a dataclass of annotated fields is a group of options, and a command takes the group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """The function as a command whose parameters that are dataclasses stand as their fields on the command line.

    A field is what a parameter would be: ``weights: Annotated[str, typer.Option(...)] = "default"``. A field whose
    name another one has already gets its parameter's name in front, so it needs a flag of its own.
    """
    hints = get_type_hints(function, include_extras=True)
    places: dict[str, tuple[str, str]] = {}  # of the command line -> parameter, field ("" for the parameter itself)
    shown: list[Parameter] = []
    for name, given in signature(function).parameters.items():
        inner = _fields(hints[name]) if is_dataclass(hints[name]) else {"": (hints[name], given.default)}
        for field, (annotation, default) in inner.items():
            flat = field or name
            if flat in places:
                flat = f"{name}_{field}"
            places[flat] = name, field
            shown.append(Parameter(flat, Parameter.KEYWORD_ONLY, default=default, annotation=annotation))

    @wraps(function)
    def command(**values: Any) -> None:
        given: dict[str, Any] = {}
        groups: dict[str, dict[str, Any]] = {name: {} for name in hints if is_dataclass(hints[name])}
        for flat, value in values.items():
            name, field = places[flat]
            (groups[name] if field else given)[field or name] = value
        function(**given, **{name: hints[name](**inner) for name, inner in groups.items()})

    del command.__wrapped__  # typer would look through to the function's own parameters
    command.__signature__ = Signature(shown)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return command


def _fields(group: type) -> dict[str, tuple[Any, Any]]:
    """Field -> annotation and default of a dataclass."""
    hints = get_type_hints(group, include_extras=True)
    empty = Parameter.empty
    return {f.name: (hints[f.name], empty if f.default is MISSING else f.default) for f in fields(group) if f.init}

"""What other packages bring along by name: entry points of theirs, checked where they meet ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.errors import ConfigError, FewShotError

REFINERS: Final = "fewshot_seg.refiners"
BACKBONES: Final = "fewshot_seg.backbones"
METHODS: Final = "eval.methods"

_KINDS: Final = {REFINERS: "refiner", BACKBONES: "backbone", METHODS: "method"}
_OWN: Final = tuple(
    EntryPoint(name, f"fewshot_seg.cutting.{place}", REFINERS)
    for name, place in (
        ("guided", "refiners:build_guided"),
        ("grabcut", "refiners:build_grabcut"),
        ("random-walk", "refiners:build_random_walk"),
        ("sam", "sam:SamRefiner"),
    )
)


@dataclass(frozen=True)
class Plugin:
    """One entry point.

    Attributes:
        entry: name, place and group.
        package: what brought it, "NAME VERSION".
    """

    entry: EntryPoint
    package: str

    def __str__(self) -> str:
        return f"{_KINDS[self.entry.group]} {self.entry.name!r} of package {self.package}"

    @property
    def ours(self) -> bool:
        """Whether it is of this package."""
        return self.entry in _OWN

    def load(self) -> Any:
        """The callable itself. ConfigError, of one line: it can't be imported, or is none."""
        try:
            found = self.entry.load()
        except Exception as error:  # whatever another's code does at import
            raise self.refusal(f"cannot be imported ({_first_line(error)})") from error
        if not callable(found):
            raise self.refusal(f"is {type(found).__name__}, not callable")
        return found

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function of the plugin's gives; another's errors as a ConfigError that names the plugin."""
        try:
            return function(*arguments)
        except FewShotError:
            raise
        except Exception as error:  # whatever another's code does
            if self.ours:
                raise
            raise self.refusal(f"failed ({_first_line(error)})") from error

    def mask(self, found: Any, *sizes: tuple[int, ...]) -> NDArray[np.bool_]:
        """`found`, if it is a bool mask of one of these sizes. ConfigError: it isn't."""
        if isinstance(found, np.ndarray) and found.dtype == bool and found.shape in sizes:
            return found
        what = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        wanted = " or ".join(str(tuple(size)) for size in dict.fromkeys(sizes))
        raise self.refusal(f"gave {what}, not a bool array {wanted}")

    def refusal(self, what: str) -> ConfigError:
        """An error that says `what` of this plugin."""
        return ConfigError(f"{self} {what}; mend it, or ask those who made it")


def find_plugin(group: str, name: str) -> Plugin | None:
    """The plugin of this name, our own first; None: no package here has one. ConfigError: two packages have one."""
    found = [one for one in _OWN if (one.group, one.name) == (group, name)] or entry_points(group=group, name=name)
    plugins = [Plugin(entry, _package(entry)) for entry in found]
    if len(plugins) > 1:
        packages = " and ".join(sorted(one.package for one in plugins))
        raise ConfigError(f"{_KINDS[group]} {name!r} is in packages {packages}: uninstall one")
    return plugins[0] if plugins else None


def plugin_names(group: str) -> tuple[str, ...]:
    """The names of a group, our own first."""
    own = [one.name for one in _OWN if one.group == group]
    return tuple(dict.fromkeys((*own, *sorted(entry_points(group=group).names))))


def versions_of(group: str, names: Iterable[str]) -> dict[str, str]:
    """Name -> package of those names that other packages brought: what a result was made with."""
    found = {name: find_plugin(group, name) for name in names}
    return {name: one.package for name, one in found.items() if one is not None and not one.ours}


def _package(entry: EntryPoint) -> str:
    return "fewshot-seg" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

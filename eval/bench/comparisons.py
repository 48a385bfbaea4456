"""Every comparison by its name, and how several of them run after one another. Nothing is imported before it runs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fewshot_seg.errors import ConfigError

if TYPE_CHECKING:
    from eval.bench.findings import Finding
    from eval.bench.setting import Setting

ALL: Final = "all"


class Comparison(NamedTuple):
    """One of the comparisons; its function is `compare_NAME` of the module `eval.bench.NAME`.

    Attributes:
        purpose: what is compared, for `--help`.
        needs_root: whether it works on images with masks, which `--root` gives.
    """

    purpose: str
    needs_root: bool = False


COMPARISONS: Final[Mapping[str, Comparison]] = {
    "start": Comparison("'fewshot-seg --help' beside a Python that does nothing"),
    "attention": Comparison("similarity attention beside the forward pass alone, and beside Grad-CAM"),
    "textbook": Comparison("one query, one support beside attention with GrabCut at full size", needs_root=True),
    "folder": Comparison("a folder of queries beside the same one by one; its memory"),
    "disk": Comparison("embedding images from disk beside the forward pass on tensors in memory"),
    "serve": Comparison("requests to 'fewshot-seg serve' beside the segmenter alone; four clients; its memory"),
    "cache": Comparison("episodes with features kept beside features made anew", needs_root=True),
}


def chosen(names: Iterable[str], root: Path | None) -> tuple[list[str], list[str]]:
    """The comparisons that are meant, and those that "all" leaves out because there is no root.

    Raises:
        ConfigError: an unknown name, or one that needs a root and has none.
    """
    wanted = list(dict.fromkeys(names))
    if unknown := [name for name in wanted if name not in (*COMPARISONS, ALL)]:
        raise ConfigError(f"unknown comparison {unknown[0]!r}: choose {', '.join((*COMPARISONS, ALL))}")
    bare = [] if root is not None else [name for name, one in COMPARISONS.items() if one.needs_root]
    if named := [name for name in wanted if name in bare]:
        raise ConfigError(f"{', '.join(named)}: works on images with masks; give a folder in VOC's layout by --root")
    if ALL in wanted:
        return [name for name in COMPARISONS if name not in bare], bare
    return wanted, []


def run_comparisons(names: Sequence[str], setting: Setting, tell: Callable[[str], None] | None = None) -> list[Finding]:
    """What comparisons find, in their order.

    `names` are keys of `COMPARISONS`; `tell` is told each before it starts.

    Raises:
        FewShotError: from a comparison.
    """
    findings = []
    for name in names:
        if tell is not None:
            tell(name)
        compare: Callable[[Setting, Path], list[Finding]] = getattr(
            import_module(f"eval.bench.{name}"), f"compare_{name}"
        )
        with tempfile.TemporaryDirectory() as folder:
            findings += compare(setting, Path(folder))
    return findings

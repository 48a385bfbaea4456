"""The command `fewshot-eval`. A subcommand is a module of `eval.commands`: its function of the same name, its EPILOG.

Those modules import the work itself inside functions: `fewshot-eval --help` must not wait for torch.
"""

from __future__ import annotations

from importlib import import_module

from eval.commands.bench import bench_app
from eval.commands.common import COMMAND
from fewshot_seg.commands.entry import make_app

_NAMES = "segment score compare sequences sweep dev ablation hints report retrieval reid region_search bench split_list"

app = make_app(COMMAND, "Measure few-shot segmentation on episodes of a data set, retrieval and re-identification.")


for _name in _NAMES.split():
    if _name == bench_app.info.name:
        app.add_typer(bench_app)
    else:
        _module = import_module(f"eval.commands.{_name}")
        app.command(_name.replace("_", "-"), epilog=_module.EPILOG)(getattr(_module, _name))


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()

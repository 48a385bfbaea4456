"""`fewshot-eval bench`: comparisons of speed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from eval.bench.comparisons import ALL, COMPARISONS
from eval.commands.bench_compare import EPILOG as COMPARE_EPILOG
from eval.commands.bench_compare import HELP as COMPARE_HELP
from eval.commands.bench_compare import compare
from eval.commands.bench_growth import EPILOG as GROWTH_EPILOG
from eval.commands.bench_growth import growth
from eval.commands.bench_vectors import ANN_EPILOG, RERANK_EPILOG, RETRIEVAL_EPILOG, ann, rerank, retrieval
from eval.commands.common import track
from eval.commands.options import (
    BenchFile,
    Data,
    Fold,
    Hints,
    Network,
    RoundsEach,
    Shots,
    Ways,
    fold_of,
    methods_option,
)
from eval.commands.table_files import refuse_file
from fewshot_seg.commands.console import print_table
from fewshot_seg.commands.entry import examples
from fewshot_seg.commands.grouped import grouped

EPILOG = examples(
    "fewshot-eval bench episodes --root VOC2012 --split-list fold0.txt --fold 0 --out bench.json",
    "fewshot-eval bench episodes --root voc --fold all --skip-small-classes --episodes 50 --method attention --shot 5",
)


class _Comparing(TyperGroup):
    """`bench NAME...` is `bench compare NAME...`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        named = bool(args) and args[0] in (*COMPARISONS, ALL)
        return super().resolve_command(ctx, ["compare", *args] if named else args)


bench_app = typer.Typer(
    name="bench", help="Compare speeds.", no_args_is_help=True, rich_markup_mode="rich", cls=_Comparing
)


@bench_app.callback()
def _bench() -> None:
    """Compare speeds, side by side in one process."""


bench_app.command(help=COMPARE_HELP, epilog=COMPARE_EPILOG)(compare)
bench_app.command(epilog=GROWTH_EPILOG)(growth)
bench_app.command(epilog=RERANK_EPILOG)(rerank)
bench_app.command(epilog=ANN_EPILOG)(ann)
bench_app.command(epilog=RETRIEVAL_EPILOG)(retrieval)


@bench_app.command(epilog=EPILOG)
@grouped
def episodes(
    data: Data,
    hints: Hints,
    network: Network,
    fold: Annotated[Fold, typer.Option(help="The classes.")] = "0",
    way: Ways = 1,
    shot: Shots = 1,
    count: Annotated[int, typer.Option("--episodes", min=1, help="Episodes of a round.")] = 100,
    rounds: RoundsEach = 5,
    method: Annotated[list[str] | None, methods_option("May be repeated; those that need a network.", "ours")] = None,
    out: BenchFile = None,
) -> None:
    """Episodes a second with and without the cache of features.

    Every round predicts the same episodes, with a cache that is empty at its start and with none, in turns
    after a warm-up. Rates are medians, with the lowest and highest of the rounds.
    """
    from eval.bench.episodes import bench_episodes
    from eval.bench.timing import write_bench
    from eval.episodes.methods import needs_network
    from eval.episodes.plan import SegmentationTask, open_task, plan_episodes
    from eval.episodes.segmentation import build_engine
    from fewshot_seg.errors import ConfigError

    refuse_file(out, data.inputs())
    names = tuple(method or ["ours"])
    if blind := [name for name in names if not needs_network(name)]:
        raise ConfigError(f"{', '.join(blind)}: needs no network, so there is nothing to keep; name another method")
    settings = {**data.settings(), **hints.settings(), **network.settings()}
    task = SegmentationTask(
        out=Path(), fold=fold_of(fold), way=way, shot=shot, episodes=count, methods=names, **settings
    )
    images = open_task(task)
    drawn = plan_episodes(task, images).episodes
    engine = build_engine(task)
    assert engine is not None
    result = bench_episodes(
        engine,
        names,
        images,
        drawn,
        limit_bytes=task.cache_memory * 2**20,
        workers=task.workers,
        rounds=rounds,
        track=track,
    )
    if out is not None:
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(task).items()}
        settings = {key: value for key, value in settings.items() if key not in ("out", "scoring")} | {"rounds": rounds}
        write_bench(out, "episodes", settings, result.facts, result.timings)
    rows = [
        (one.variant, str(passes), str(one.rate), str(one.ratio))
        for one, passes in zip(result.timings, result.facts["passes"], strict=True)
    ]
    print_table(("method", "passes a round", "episodes a second", "times without"), rows, names=1)
    what = f"{result.timings[0].items} episodes of {result.facts['images']} images a round"
    typer.echo(f"{what}; predictions that differ between rounds: {result.facts['differing_predictions']}")

"""The command `fewshot-eval`. A subcommand is a module of `eval.commands`; here they get their names.

Those modules import the work itself inside functions: `fewshot-eval --help` must not wait for torch.
"""

from __future__ import annotations

from eval.commands.ablation import EPILOG as ABLATION_EPILOG
from eval.commands.ablation import ablation
from eval.commands.bench import bench_app
from eval.commands.common import COMMAND
from eval.commands.compare import EPILOG as COMPARE_EPILOG
from eval.commands.compare import compare
from eval.commands.dev import EPILOG as DEV_EPILOG
from eval.commands.dev import dev
from eval.commands.hints import EPILOG as HINTS_EPILOG
from eval.commands.hints import hints
from eval.commands.region_search import EPILOG as REGION_SEARCH_EPILOG
from eval.commands.region_search import region_search
from eval.commands.reid import EPILOG as REID_EPILOG
from eval.commands.reid import reid
from eval.commands.report import EPILOG as REPORT_EPILOG
from eval.commands.report import report
from eval.commands.retrieval import EPILOG as RETRIEVAL_EPILOG
from eval.commands.retrieval import retrieval
from eval.commands.score import EPILOG as SCORE_EPILOG
from eval.commands.score import score
from eval.commands.segment import EPILOG as SEGMENT_EPILOG
from eval.commands.segment import segment
from eval.commands.sequences import EPILOG as SEQUENCES_EPILOG
from eval.commands.sequences import sequences
from eval.commands.split_list import EPILOG as SPLIT_LIST_EPILOG
from eval.commands.split_list import split_list
from eval.commands.sweep import EPILOG as SWEEP_EPILOG
from eval.commands.sweep import sweep
from fewshot_seg.commands.entry import make_app

app = make_app(COMMAND, "Measure few-shot segmentation on episodes of a data set, retrieval and re-identification.")

app.command(epilog=SEGMENT_EPILOG)(segment)
app.command(epilog=SCORE_EPILOG)(score)
app.command(epilog=COMPARE_EPILOG)(compare)
app.command(epilog=SEQUENCES_EPILOG)(sequences)
app.command(epilog=SWEEP_EPILOG)(sweep)
app.command(epilog=DEV_EPILOG)(dev)
app.command(epilog=ABLATION_EPILOG)(ablation)
app.command(epilog=HINTS_EPILOG)(hints)
app.command(epilog=REPORT_EPILOG)(report)
app.command(epilog=RETRIEVAL_EPILOG)(retrieval)
app.command(epilog=REID_EPILOG)(reid)
app.command("region-search", epilog=REGION_SEARCH_EPILOG)(region_search)
app.add_typer(bench_app)
app.command("split-list", epilog=SPLIT_LIST_EPILOG)(split_list)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()

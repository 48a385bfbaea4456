"""The command `fewshot-seg`: parse, call, print. What a command does is in `fewshot_seg.commands`.

Imports of the work itself are inside the functions: `fewshot-seg --help` must not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from fewshot_seg.commands.console import complain, print_table
from fewshot_seg.commands.engine import Device, Engine, Out, Precise, Threads, Weights
from fewshot_seg.commands.entry import examples, make_app
from fewshot_seg.commands.export import EPILOG as EXPORT_EPILOG
from fewshot_seg.commands.export import HELP as EXPORT_HELP
from fewshot_seg.commands.export import export
from fewshot_seg.commands.grouped import grouped
from fewshot_seg.commands.hint_options import EXAMPLES as HINT_EXAMPLES
from fewshot_seg.commands.hint_options import QueryHints, SupportHints
from fewshot_seg.commands.index import index_app
from fewshot_seg.commands.models import models_app
from fewshot_seg.commands.reid import reid_app
from fewshot_seg.commands.search import EPILOG as SEARCH_EPILOG
from fewshot_seg.commands.search import HELP as SEARCH_HELP
from fewshot_seg.commands.search import search
from fewshot_seg.commands.way import EXAMPLES as WAY_EXAMPLES
from fewshot_seg.commands.way import Meaning, Way

app = make_app("fewshot-seg", "Cut the object of an example image out of other images, and show why images are alike.")

# Paragraphs in one line each: the help would keep the line breaks of a docstring.
SEGMENT_HELP = (
    "Find in each QUERY what the examples show. No mask is needed.\n\n"
    "Writes DIR/STEM_mask.png (8-bit label map at native size: 0 is background, 1 the first class, ...), "
    "DIR/STEM_overlay.jpg and DIR/results.json. Queries of the same name become STEM-2, STEM-3, ...; "
    "results.json says which file is whose. In folders and globs, an earlier run's results are left out.\n\n"
    "A query that cannot be read is reported, the others are done, and the exit status is 1."
)
EXPLAIN_HELP = (
    "Show where the similarity of two, three or four images comes from.\n\n"
    "Writes DIR/explain.png (every image, its heat map, the cosines), DIR/STEM_attention.jpg and "
    "DIR/explain.json."
)


@app.command(epilog=examples("fewshot-seg demo --out demo-out"))
@grouped
def demo(engine: Engine, out: Out = Path("demo-out")) -> None:
    """Segment real photographs that the installed packages ship. No download, under a minute."""
    from fewshot_seg.commands.demo import run_demo
    from fewshot_seg.commands.results import COLUMNS, table_rows

    sheet, entries = run_demo(out, engine)
    print_table(COLUMNS, table_rows(entries))
    typer.echo(f"The sheet with every result: {sheet}")


@app.command(
    help=SEGMENT_HELP,
    epilog=examples(
        "fewshot-seg segment photos/ --support cat=my-cat.jpg --out results",
        'fewshot-seg segment "photos/*.jpg" -s cat=cat1.jpg -s cat=cat2.jpg -s dog=dog.jpg -o results',
    )
    + HINT_EXAMPLES
    + WAY_EXAMPLES,
)
@grouped
def segment(
    queries: Annotated[list[str], typer.Argument(metavar="QUERY", help="Image files, folders or globs.")],
    out: Out,
    support_hints: SupportHints,
    query_hints: QueryHints,
    engine: Engine,
    way: Way,
    supports: Annotated[
        list[str] | None,
        typer.Option(
            "--support",
            "-s",
            metavar="NAME=PATH",
            help="An example of class NAME: a file, or a folder of them. Repeat it for more examples or "
            "classes. A PATH alone is an example of the class 'object'.",
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Search query folders through.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Queries in the network at a time.")] = 4,
    resume: Annotated[bool, typer.Option("--resume", help="Leave out what the same command has done before.")] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only every N-th query, from the I-th on: a part of its own."),
    ] = None,
) -> None:
    """Find in each QUERY what the examples show. No mask is needed."""
    from fewshot_seg.commands.result_log import Shard
    from fewshot_seg.commands.results import COLUMNS, table_rows
    from fewshot_seg.commands.segment import SegmentRequest, run_segment
    from fewshot_seg.commands.supports import all_supports, parse_negatives

    classes = all_supports(supports or (), support_hints)
    if way.candidates:
        from fewshot_seg.commands.candidates import write_candidates

        shown = write_candidates(engine.segmenter(way), classes, out)
        typer.echo(f"What the examples may mean: {out / shown['sheet']}; --mean NUMBER says which")
        return
    negatives = parse_negatives(way.unlike or ())
    part = None if shard is None else Shard.parse(shard)
    asked = SegmentRequest(
        queries, classes, out, engine, way, recursive, batch_size, query_hints, negatives, resume, part
    )
    report = run_segment(asked)
    print_table(COLUMNS, table_rows(report.shown), more=report.rows_left)
    if report.interrupted:
        kept = f"{report.done} of {report.total} images are done and kept in {out}"
        complain(f"{kept}; --resume goes on from there", kind="interrupted")
        raise typer.Exit(130)
    before = f", {report.resumed} of them from before" if report.resumed else ""
    typer.echo(f"{report.total - report.failed} of {report.total} images are in {out}{before}")
    if report.failed:
        raise typer.Exit(1)


@app.command(
    epilog=examples(
        "fewshot-seg serve --folder photos/",
        "fewshot-seg serve --project cups --index shop=shop.index --port 8080 --no-browser",
        "fewshot-seg serve --host 0.0.0.0 --token 4f1c9a7be2d8",
    )
)
@grouped
def serve(
    engine: Engine,
    way: Way,
    host: Annotated[str, typer.Option(help="Address to listen on; one that others reach needs --token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    project: Annotated[
        Path, typer.Option(metavar="DIR", help="Where examples, corrections and accepted masks are kept.")
    ] = Path("fewshot-seg-project"),
    folders: Annotated[
        list[Path] | None, typer.Option("--folder", metavar="DIR", help="Images that the page may open. Repeat it.")
    ] = None,
    indexes: Annotated[
        list[str] | None, typer.Option("--index", metavar="NAME=DIR", help="An index to search. Repeat it.")
    ] = None,
    token: Annotated[str | None, typer.Option(help="What everybody who asks must know.")] = None,
    max_upload: Annotated[int, typer.Option(min=1, max=65536, help="MiB that a request may hold.")] = 512,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Open a page to cut things out, correct, accept, export and search; programs use /api. Needs fewshot-seg[web]."""
    from fewshot_seg.web.serve import ServeRequest, run_serve

    run_serve(ServeRequest(host, port, project, folders or [], indexes or [], token, max_upload, browser, engine, way))


@app.command(
    epilog=examples(
        "fewshot-seg calibrate -s mug=mug.jpg --with mugs/ --without empty-desks/",
        "fewshot-seg calibrate -s mug=mug.jpg --support-mask mug=mug.png --with a.jpg --with b.jpg --without "
        '"desks/*.jpg"',
    )
)
@grouped
def calibrate(
    shown: Annotated[list[str], typer.Option("--with", metavar="PATH", help="Images, folders, globs: all show it.")],
    others: Annotated[list[str], typer.Option("--without", metavar="PATH", help="The same; none of them shows it.")],
    support_hints: SupportHints,
    engine: Engine,
    supports: Annotated[
        list[str] | None, typer.Option("--support", "-s", metavar="NAME=PATH", help="As for segment.")
    ] = None,
    meaning: Annotated[Meaning, typer.Option(help="As for segment.")] = "auto",
) -> None:
    """Set the presence threshold by a few photographs with the thing and a few without it."""
    from fewshot_seg.commands.calibrate import run_calibrate
    from fewshot_seg.commands.supports import all_supports

    classes = all_supports(supports or (), support_hints)
    found = run_calibrate(classes, shown, others, engine, Way(meaning=meaning))
    shares = (
        f"{100 * found.found:.0f} % of those with it are found, {100 * found.left_empty:.0f} % of the others left empty"
    )
    typer.echo(f"--presence {found.threshold:.2f}: {shares}")


@app.command(
    help=EXPLAIN_HELP,
    epilog=examples(
        "fewshot-seg explain cat1.jpg cat2.jpg --out why",
        "fewshot-seg explain cat.jpg dog.jpg --different --out why",
        "fewshot-seg explain anchor.jpg positive.jpg negative.jpg --out why",
    ),
)
def explain(
    images: Annotated[
        list[str],
        typer.Argument(metavar="A B [C [D]]", help="A pair; or an anchor, its positive, and one or two negatives."),
    ],
    out: Out,
    different: Annotated[
        bool, typer.Option("--different", help="Explain what tells a pair apart, not what makes it alike.")
    ] = False,
    through_norm: Annotated[
        bool,
        typer.Option(
            "--through-norm",
            "--letter",
            help="Equation 1 to the letter: the gradient goes through the L2 norm. Without it the norm is a "
            "constant, which is better for weights that were not trained for this.",
        ),
    ] = False,
    weights: Weights = "default",
    device: Device = "auto",
    precision: Precise = "fp32",
    threads: Threads = None,
) -> None:
    """Show where the similarity of two, three or four images comes from."""
    from fewshot_seg.commands.explain import ExplainRequest, run_explain

    engine = Engine(weights, device, precision, threads=threads)
    content = run_explain(ExplainRequest(images, out, engine, different, through_norm))
    pairs = [(pair["a"], pair["b"], f"{pair['cosine']:.3f}") for pair in content["similarities"]]
    print_table(("image", "image", "cosine"), pairs)
    typer.echo(f"The sheet: {out / content['sheet']}")


@app.command(
    "export-onnx",
    epilog=examples(
        "fewshot-seg export-onnx --weights default --out default.onnx",
        "fewshot-seg export-onnx -w birds.safetensors --int8 --images photos/ -o birds-int8.onnx",
    ),
)
def export_onnx(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file, which ends in .onnx.")],
    weights: Weights = "default",
    through_norm: Annotated[
        bool, typer.Option("--through-norm", "--letter", help="Attention by equation 1 to the letter.")
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="The trunk in 8-bit integers: smaller, faster, less exact.")
    ] = False,
    images: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Images, folders or globs to find the 8-bit numbers' ranges by. May be repeated.",
            show_default="the demo's photographs",
        ),
    ] = None,
    what: Annotated[
        Literal["embedder", "segmenter"], typer.Option(help="segmenter: the network with its matcher.")
    ] = "embedder",
    shots: Annotated[int, typer.Option(min=1, max=20, help="How many supports the segmenter takes.")] = 1,
    matcher: Annotated[str, typer.Option(metavar="NAME", help="The segmenter's: auto, a name or a file.")] = "auto",
) -> None:
    """Write an embedder as an ONNX model, with attention as an output, checked by onnxruntime. Needs the extra 'onnx'.

    Inputs: images (B,3,H,W), preprocessed as its metadata say, and partners (B,D), the vectors of what they are
    compared with. Outputs: vectors (B,D), feature_maps (B,C,h,w), attention (B,h,w). With --what segmenter: from a
    query and supports, which the same graph prepares, to the object's map (docs/performance.md).
    """
    from fewshot_seg.commands.export_onnx import OnnxRequest, run_export_onnx

    facts = run_export_onnx(
        OnnxRequest(weights, out, through_norm, int8, images or (), what == "segmenter", shots, matcher)
    )
    typer.echo(f"{out}: {facts['bytes'] / 1e6:.1f} MB; torch's results but for {facts['largest_difference']:.1g}")
    if (found := facts.get("agreement")) is not None:
        cosines = f"{found['mean_cosine']:.3f} (lowest {found['lowest_cosine']:.3f})"
        changes = f"{found['mean_change_between_images']:.3f} on average"
        typer.echo(f"int8, {found['images']} images: cosine with the original {cosines}; between images {changes}")


app.add_typer(index_app)
app.add_typer(models_app)
app.add_typer(reid_app)
app.command(help=SEARCH_HELP, epilog=SEARCH_EPILOG)(search)
app.command(help=EXPORT_HELP, epilog=EXPORT_EPILOG)(export)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()

"""report.html of a retrieval run: its figures are metrics.json's, frames tell right from wrong, attention is drawn."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from eval.commands.lines import retrieval_line
from eval.commands.report import make_report
from eval.commands.retrieval import retrieval
from eval.report.retrieval import write_retrieval_report
from eval.report.searches import Explainer
from eval.report.task import Network, ReportTask
from eval.retrieval.begin import scores_file
from eval.retrieval.data import open_images
from eval.retrieval.run import RetrievalTask, run_retrieval
from eval.retrieval.scoring import load_scores
from fewshot_seg.attention.maps import attention_maps
from fewshot_seg.attention.weighting import shot_weights
from fewshot_seg.errors import ConfigError, DataError
from tests.eval.report.html_page import Page
from tests.eval.retrieval.files import tiny_retrieval
from tests.eval.tiny import tiny_embedder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RetrievalTask:
    """Six classes, one of them with a name that looks like markup."""
    task = tiny_retrieval(tmp_path_factory.mktemp("run"))
    (task.choice.root / "06.kind").rename(task.choice.root / "06.<b>bold")
    run_retrieval(task)
    return task


@pytest.fixture(scope="module")
def page(finished: RetrievalTask) -> Page:
    task = ReportTask(finished.out, examples=2, command=partial(retrieval_line, retrieval))
    return Page(write_retrieval_report(task).read_text(encoding="utf-8"))


def test_figures_are_those_of_metrics_json(finished: RetrievalTask, page: Page) -> None:
    metrics = json.loads((finished.out / "metrics.json").read_text())
    shown = " ".join(page.words)
    for value in (*metrics["recall"].values(), metrics["map_at_r"], metrics["nmi"]):
        assert f"{100 * value:.1f}" in shown
    assert "06.<b>bold" in shown  # as text: `Page` has met no such tag
    assert not any(tag == "b" and not attributes and "bold" in tag for tag, attributes in page.tags)


def test_frames_are_right_where_classes_agree(finished: RetrievalTask, page: Page) -> None:
    scores, images = load_scores(scores_file(finished.out, "tiny")), open_images(finished.choice)
    drawn = [
        (str(attributes["id"]), place)
        for place, (tag, attributes) in enumerate(page.tags)
        if tag == "article" and attributes.get("id")
    ]
    assert 2 <= len(drawn) <= 6
    for anchor, place in drawn:
        query = int(anchor.removeprefix("query-"))
        label = images.images.labels[int(scores.queries[query])]
        expected = [images.images.labels[row] == label for row in scores.neighbours[query, :5].tolist()]
        kinds = [str(attributes.get("class")) for tag, attributes in page.tags[place:] if tag == "div"]
        hits = [kind for kind in kinds if kind.startswith("pair") and ("right" in kind or "wrong" in kind)][:5]
        assert ["right" in kind for kind in hits] == expected


def test_every_picture_has_its_attention_under_it(page: Page) -> None:
    pictures = [str(attributes["alt"]) for tag, attributes in page.tags if tag == "img"]
    attention = [alt for alt in pictures if alt.startswith("attention to")]
    assert len(pictures) == 2 * len(attention) > 0


def test_the_attention_is_that_of_the_pair(finished: RetrievalTask) -> None:
    images, embedder = open_images(finished.choice), tiny_embedder()
    found = Explainer(embedder, images).map_of(3, 8)
    one, other = (embedder.embed([images.images.paths[place]]) for place in (3, 8))
    w = shot_weights(one.vector, other.vector, [], weighting="contributions")
    expected = attention_maps(embedder, one, w, through_norm=False)[0]
    assert expected.max() > 0
    np.testing.assert_allclose(found, (expected / expected.max()).numpy(), atol=1e-5)


def test_the_line_that_makes_the_run(finished: RetrievalTask) -> None:
    config = json.loads((finished.out / "config.json").read_text())
    metrics = json.loads((finished.out / "metrics.json").read_text())
    words = shlex.split(retrieval_line(retrieval, config, metrics, finished.out))
    assert words[:2] == ["fewshot-eval", "retrieval"]
    assert words[words.index("--classes") + 1] == "1-6"
    assert words[words.index("--weights") + 1] == finished.weights[0]
    assert words[words.index("--bootstrap") + 1] == "50"
    assert "--no-nmi" not in words
    assert "-k" not in words


def test_the_report_command_knows_the_kind_of_run(finished: RetrievalTask, tmp_path: Path) -> None:
    shutil.copytree(finished.out, tmp_path / "run")
    assert "retrieval" in make_report(tmp_path / "run", examples=0).read_text()
    with pytest.raises(ConfigError, match="leave it out"):
        make_report(tmp_path / "run", split_list=tmp_path / "list.txt")


def test_other_images_than_the_runs_are_refused(finished: RetrievalTask, tmp_path: Path) -> None:
    other = tiny_retrieval(tmp_path).choice.root
    with pytest.raises(DataError, match="other images or classes than the run's"):
        write_retrieval_report(ReportTask(finished.out, root=other))


def test_without_its_weights_a_report_says_so(finished: RetrievalTask) -> None:
    network = Network(weights=str(finished.out / "nowhere.safetensors"))
    text = write_retrieval_report(ReportTask(finished.out, examples=1, network=network)).read_text()
    assert "Attention is left out" in text
    assert "nowhere.safetensors" in text


def test_several_weights_are_marked_on_the_bars(finished: RetrievalTask, tmp_path: Path) -> None:
    again = tmp_path / "second.safetensors"
    shutil.copy(finished.weights[0], again)
    task = replace(finished, out=tmp_path / "two", weights=(finished.weights[0], str(again)), nmi=False)
    run_retrieval(task)
    page = Page(write_retrieval_report(ReportTask(task.out, examples=0)).read_text())
    assert any(row and row[0] == "second" for row in page.rows)
    assert any("mark" in str(attributes.get("class")) for _, attributes in page.tags)

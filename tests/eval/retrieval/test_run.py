"""A whole run: its figures, its files, what an interruption costs, what it refuses."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.commands.retrieval import retrieval
from eval.retrieval import vectors as vectors_module
from eval.retrieval.begin import scores_file
from eval.retrieval.data import open_images, paired
from eval.retrieval.run import RetrievalTask, default_ks, run_retrieval
from eval.retrieval.scoring import load_scores, nmi_of
from eval.retrieval.tables import figures_table
from eval.retrieval.vectors import embed_files
from eval.tables.published import THE_PAPER, read_published
from fewshot_seg.datasets.labelled import LabelledImages
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.network.embedding import load_embedder
from fewshot_seg.streams import untracked
from tests.conftest import ROOT
from tests.eval.retrieval.files import tiny_retrieval
from tests.eval.tiny import contents, tiny_embedder


@pytest.fixture
def task(tmp_path: Path) -> RetrievalTask:
    return tiny_retrieval(tmp_path)


def slow_recall(task: RetrievalTask, k: int) -> float:
    """From the pictures to R@K, one after the other."""
    images = open_images(task.choice).images
    found = load_embedder(task.weights[0], device="cpu").embed(list(images.paths)).vector.double()
    hits = 0
    for query in range(len(found)):
        order = sorted(range(len(found)), key=lambda row: -float(found[query] @ found[row]))
        nearest = [row for row in order if row != query][:k]
        hits += any(images.labels[row] == images.labels[query] for row in nearest)
    return hits / len(found)


def test_the_figures_are_those_of_a_loop_over_the_pictures(task: RetrievalTask) -> None:
    metrics = run_retrieval(task)
    assert metrics["recall"] == {str(k): pytest.approx(slow_recall(task, k)) for k in (1, 2, 4, 8)}
    assert metrics == json.loads((task.out / "metrics.json").read_text())
    assert (metrics["queries"], metrics["gallery"], metrics["classes"]) == (30, 30, 6)
    own = metrics["methods"]["tiny"]
    low, high = own["intervals"]["recall"]["1"]
    assert low <= own["recall"]["1"] <= high
    assert 0 < own["nmi"] <= 1
    assert np.mean(list(own["per_class"].values())) == pytest.approx(own["recall"]["1"])


def test_neighbours_are_kept_with_their_cosines(task: RetrievalTask) -> None:
    run_retrieval(task)
    scores = load_scores(scores_file(task.out, "tiny"))
    assert scores.neighbours.shape == scores.similarities.shape == (30, 10)
    assert not (scores.neighbours == scores.queries[:, None]).any()
    assert (np.diff(scores.similarities, axis=1) <= 0).all()


def test_several_weights_stand_side_by_side(task: RetrievalTask) -> None:
    again = task.out.parent / "again" / "tiny.safetensors"
    again.parent.mkdir()
    shutil.copy(task.weights[0], again)
    metrics = run_retrieval(replace(task, weights=(*task.weights, str(again)), nmi=False))
    assert list(metrics["methods"]) == ["tiny", "tiny-2"]
    assert metrics["methods"]["tiny"] == metrics["methods"]["tiny-2"]
    table = figures_table(json.loads((task.out / "config.json").read_text()), metrics)
    assert [row[0] for row in table.rows] == ["tiny", "tiny-2"]
    assert table.columns == ("weights", "R@1", "R@2", "R@4", "R@8", "MAP@R", "R-precision")


def test_workers_change_no_byte(task: RetrievalTask) -> None:
    run_retrieval(task)
    before = contents(task.out)
    run_retrieval(replace(task, workers=1, out=task.out.parent / "other"))
    assert contents(task.out.parent / "other") == before


def test_blocks_that_are_there_are_not_made_again(task: RetrievalTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "BLOCK", 8)
    paths, embedder, passes = open_images(task.choice).images.paths, tiny_embedder(), []
    embedder.trunk.register_forward_hook(lambda module, images, result: passes.append(1))

    def embed() -> torch.Tensor:
        passes.clear()
        return embed_files(paths, embedder, task.out, lambda items, total, what: iter(items), "x", 2).values

    whole = embed()
    assert len(passes) == 30
    assert torch.equal(embed(), whole)
    assert passes == []
    (task.out / "000001.npz").unlink()
    (task.out / "000002.npz").write_bytes((task.out / "000002.npz").read_bytes()[:100])  # cut short by a full disk
    assert torch.equal(embed(), whole)
    assert len(passes) == 16


def test_an_unreadable_image_is_left_out_and_named(task: RetrievalTask) -> None:
    (task.choice.root / "02.kind" / "3.png").write_bytes(b"no picture")
    metrics = run_retrieval(task)
    assert list(metrics["methods"]["tiny"]["unreadable"]) == ["02.kind/3.png"]
    assert len(load_scores(scores_file(task.out, "tiny")).queries) == 29
    config = json.loads((task.out / "config.json").read_text())
    assert any("02.kind/3.png" in note for note in figures_table(config, metrics).notes)
    assert run_retrieval(task) == metrics


def test_a_class_of_one_image(task: RetrievalTask) -> None:
    for number in range(1, 5):
        (task.choice.root / "01.kind" / f"{number}.png").unlink()
    own = run_retrieval(task)["methods"]["tiny"]
    assert own["queries_alone"] == 1
    assert own["per_class"]["01.kind"] == 0


def test_another_config_is_refused(task: RetrievalTask) -> None:
    run_retrieval(task)
    with pytest.raises(ConfigError, match=r"holds another run: ks \[1, 2, 4, 8\]|another ks"):
        run_retrieval(replace(task, ks=(1,)))
    with pytest.raises(ConfigError, match="another run"):
        run_retrieval(replace(task, choice=replace(task.choice, classes="1-3")))


def test_tasks_that_cannot_be(task: RetrievalTask) -> None:
    for changes in ({"weights": ()}, {"weights": ("default", "default")}, {"ks": (0,)}, {"samples": -1}):
        with pytest.raises(ConfigError):
            replace(task, **changes)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="run the evaluation again"):
        load_scores(task.out / "queries-nothing.npz")


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(task: RetrievalTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors_module, "BLOCK", 4)
    run_retrieval(replace(task, out=task.out.parent / "whole"))
    first = subprocess.Popen([sys.executable, "-c", IN_BLOCKS_OF_4, "retrieval", *options_of(task)], cwd=ROOT)
    while first.poll() is None and not list(task.out.glob("vectors/tiny/*.npz")):
        time.sleep(0.001)
    first.send_signal(signal.SIGKILL)
    first.wait()
    run_retrieval(task)
    for name in ("metrics.json", "config.json", "queries-tiny.npz"):
        assert (task.out / name).read_bytes() == (task.out.parent / "whole" / name).read_bytes()


IN_BLOCKS_OF_4 = "import eval.retrieval.vectors as v; v.BLOCK = 4; from eval.cli import main; main()"


def options_of(task: RetrievalTask) -> list[str]:
    return [
        *(f"--root={task.choice.root}", f"--out={task.out}", f"--classes={task.choice.classes}"),
        *(f"--weights={task.weights[0]}", "--device=cpu", "--workers=2", "--bootstrap=50", "--no-report"),
    ]


def test_the_command_prints_a_row_for_each(task: RetrievalTask, capsys: pytest.CaptureFixture[str]) -> None:
    retrieval(
        root=task.choice.root,
        out=task.out,
        classes="1-6",
        weights=list(task.weights),
        device="cpu",
        workers=2,
        report=False,
    )
    out = capsys.readouterr().out
    assert "R@1" in out
    assert "MAP@R" in out
    assert "The query itself is left out by its id" in out


def test_published_figures() -> None:
    rows = read_published("retrieval")
    ours = [(row["dataset"], row["1"], row["1000"]) for row in rows if row["method"] == THE_PAPER]
    assert ours == [("cub", "68.3", ""), ("cars", "86.3", ""), ("sop", "", "98.8")]
    mined = next(row for row in rows if row["method"] == "triplet, similarity mining")
    assert (mined["1"], mined["2"], mined["4"]) == ("68.3", "78.9", "86.5")
    assert {row["dataset"] for row in rows} == {"cub", "cars", "sop"}
    assert (default_ks("sop"), default_ks("cub")) == ((1, 10, 100, 1000), (1, 2, 4, 8))


@pytest.mark.realdata
def test_real_groceries_are_found(shared_data: Path, tmp_path: Path) -> None:
    retrieval(root=shared_data / "grocery", out=tmp_path, classes="Banana,Kiwi", device="cpu", report=False)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["queries"], metrics["classes"]) == (40, 2)
    assert metrics["recall"]["1"] > 0.9


def test_images_that_are_all_classes_of_their_own_have_no_nmi(tmp_path: Path) -> None:
    images = LabelledImages(tuple(Path(f"{n}.png") for n in range(4)), (0, 1, 2, 3), tuple("abcd"), None, tuple("0123"))
    vectors = torch.eye(4)
    assert nmi_of(vectors, paired(images, images), torch.device("cpu"), untracked) is None
    two = replace(images, labels=(0, 0, 1, 1))
    assert nmi_of(vectors, paired(two, two), torch.device("cpu"), untracked) is not None

"""A whole run: its figures are those of a loop over the pictures, its files, its table, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from eval.cli import app
from eval.commands.reid import _classes
from eval.reid.data import Choice, identities, open_images
from eval.reid.run import ReidTask, run_reid
from eval.reid.scoring import Protocol, Way
from eval.reid.tables import figures_table, published_table
from eval.retrieval.begin import scores_file
from eval.tables.published import read_published
from fewshot_seg.errors import ConfigError, DataError
from fewshot_seg.network.embedding import load_embedder
from fewshot_seg.reid.expansion import ExpansionOptions
from fewshot_seg.reid.rerank import KReciprocal, RerankOptions
from tests.eval.reid.files import PEOPLE, tiny_task
from tests.fewshot_seg.reid.dense import dense_rerank
from tests.fewshot_seg.reid.slow import ranked_list, scores_of

BOTH = (Way(), Way(rerank=RerankOptions(4, 2)), Way(expansion=ExpansionOptions(2)))


@pytest.fixture
def task(tmp_path: Path) -> ReidTask:
    return tiny_task(tmp_path)


def by_hand(task: ReidTask, similarity=None):
    """The mean scores of lists that are gone through one entry after the other, from the pictures on."""
    images = open_images(task.choice)
    found = load_embedder(task.weights[0], device="cpu").embed(list(images.images.paths)).vector
    queries, gallery = images.queries.tolist(), images.gallery.tolist()
    if similarity is None:
        similarity = (found[queries] @ found[gallery].T).tolist()

    def row(place):
        cameras = images.images.cameras
        return images.images.labels[place], None if cameras is None else cameras[place], place

    distractor = images.images.names.index("0000") if task.choice.dataset == "market" else None
    entries = [row(place) for place in gallery]
    lists = [
        scores_of(ranked_list(similarity[number], row(place), entries, distractor=distractor))
        for number, place in enumerate(queries)
    ]
    scores = [one for one in lists if one is not None]
    means = {f"r{k}": np.mean([one["hits"][k] for one in scores]) for k in (1, 5, 10)}
    means |= {"map": np.mean([one["ap"] for one in scores]), "minp": np.mean([one["inp"] for one in scores])}
    return means | {"map_trapezoid": np.mean([one["ap_trapezoid"] for one in scores])}, (found[queries], found[gallery])


def test_the_figures_are_those_of_a_loop_over_the_pictures(task):
    task = replace(task, ways=BOTH)
    metrics = run_reid(task)
    expected, vectors = by_hand(task)
    assert {name: metrics[name] for name in expected} == {
        name: pytest.approx(value) for name, value in expected.items()
    }
    assert metrics == json.loads((task.out / "metrics.json").read_text())
    assert (metrics["queries"], metrics["answered"], metrics["identities"]) == (2 * PEOPLE, 2 * PEOPLE, PEOPLE)
    assert metrics["gallery"] == 4 * PEOPLE + 6, "distractors are in it, junk is not"
    assert [one["way"] for one in metrics["systems"]] == ["cosine", "re-ranking", "query expansion"]
    reranked, _ = by_hand(task, (-dense_rerank(*(part.double().numpy() for part in vectors), 4, 2)).tolist())
    assert metrics["systems"][1]["map"] == pytest.approx(reranked["map"])
    low, high = metrics["systems"][0]["intervals"]["map"]
    assert low <= metrics["map"] <= high


def test_lists_are_kept_for_the_report(task):
    run_reid(replace(task, ways=BOTH))
    images = open_images(task.choice)
    with np.load(scores_file(task.out, "tiny")) as stored:
        assert stored["ways"].tolist() == ["cosine", "re-ranking", "query expansion"]
        for number in range(3):
            near = stored[f"neighbours{number}"]
            assert near.shape == (2 * PEOPLE, 10)
            falling = stored[f"values{number}"] * (-1 if number == 1 else 1)
            assert (np.diff(falling, axis=1) <= 1e-6).all()
            for query, places in zip(stored["queries"], near, strict=True):
                for place in places:
                    same = [images.images.labels[one] for one in (query, place)]
                    cameras = [images.images.cameras[one] for one in (query, place)]
                    assert not (same[0] == same[1] and cameras[0] == cameras[1])


def test_a_second_run_embeds_nothing_again(task):
    first = run_reid(task)
    blocks = list((task.out / "vectors" / "tiny").iterdir())
    before = [path.stat().st_mtime_ns for path in blocks]
    assert run_reid(task) == first
    assert [path.stat().st_mtime_ns for path in blocks] == before
    with pytest.raises(ConfigError, match="holds another run: another protocol"):
        run_reid(replace(task, protocol=Protocol(cross=True)))


def test_a_single_shot_is_repeated_and_the_same_seed_draws_the_same(task):
    single = replace(task, protocol=Protocol(single=True, repeats=3, seed=5))
    first = run_reid(single)
    assert set(first["systems"][0]["spread"]) == {"r1", "r5", "r10", "map", "minp", "map_trapezoid"}
    assert run_reid(replace(single, out=task.out.parent / "again")) == first
    with pytest.raises(ConfigError, match="re-ranking looks at gallery images"):
        run_reid(replace(single, out=task.out.parent / "third", ways=BOTH))


def test_data_without_cameras(tmp_path):
    """VehicleID's way: queries and gallery are the same images, and the query itself alone is left out."""
    task = tiny_task(tmp_path, {"dataset": "named", "pattern": r"(?P<id>\d{4})_c.*", "train_classes": 0})
    metrics = run_reid(task)
    assert metrics["map"] == pytest.approx(by_hand(task)[0]["map"])
    assert metrics["queries"] == metrics["gallery"]
    config = json.loads((task.out / "config.json").read_text())
    assert "tells no cameras" in " ".join(figures_table(config, metrics).notes)


def test_one_camera_against_another(task):
    images = open_images(replace(task.choice, query_camera=1, gallery_camera=2))
    who = identities(images, "market")
    assert not set(who[0].cameras.tolist()) & set(who[1].cameras.tolist())
    assert {images.images.cameras[place] for place in images.queries.tolist()} == {1}
    named = open_images(replace(task.choice, query_camera="cam1", gallery_camera="2.0"))
    assert named.digest == images.digest
    with pytest.raises(DataError, match="--query-camera 9: no image is of this camera; there are 1, 2"):
        open_images(replace(task.choice, query_camera="c9"))


def test_distractors_are_told_from_people(task):
    who = identities(open_images(task.choice), "market")
    assert who[1].distractor == 0
    assert 0 in who[1].ids
    assert identities(open_images(task.choice), "duke")[0].distractor is None


def test_every_published_row_stands_beside_the_run(task):
    metrics = run_reid(task)
    config = json.loads((task.out / "config.json").read_text())
    table = published_table(config, metrics)
    assert len(table.rows) == 1 + len(read_published("reid")) == 1 + 13 + 3
    assert ("CUHK03-NP", "PCB", "63.7", "57.5", "2008.06035, Table 2") in table.rows
    assert "other images" in table.notes[-1], "a set in Market-1501's layout is not Market-1501"
    whole = published_table({**config, "allow_missing": False}, metrics)
    assert len(whole.notes) == 1


def test_the_command_and_its_report(task):
    command = ["reid", "--root", str(task.choice.root), "--allow-missing", "-w", task.weights[0], "-o", str(task.out)]
    done = CliRunner().invoke(app, [*command, "--bootstrap", "0", "--rerank", "--device", "cpu", "--no-report"])
    assert done.exit_code == 0, done.output
    assert "re-ranking" in done.stdout
    assert "SVD" in (task.out / "table.md").read_text()
    done = CliRunner().invoke(app, ["report", str(task.out), "--examples", "1"])
    assert done.exit_code == 0, done.output
    page = (task.out / "report.html").read_text()
    for text in ("right", "wrong", "camera 2", "mINP", "keep it as private", "attention to the query"):
        assert text in page
    assert f"fewshot-eval reid --root {task.choice.root}" in page
    assert "--rerank" in page


def test_identities_are_left_out_as_training_names_them():
    assert [_classes(text) for text in ("40", "0.5", "0001,bus_*")] == [40, 0.5, ["0001", "bus_*"]]


def test_what_cannot_be(task, tmp_path):
    with pytest.raises(ConfigError, match="unknown data set 'marked'"):
        Choice("marked", tmp_path)
    with pytest.raises(ConfigError, match="each once"):
        replace(task, weights=("default", "default"))
    with pytest.raises(ConfigError, match="choose one of them"):
        Protocol(single=True, cross=True)
    with pytest.raises(DataError, match="published are 3368"):
        run_reid(replace(task, choice=Choice("market", task.choice.root)))


def test_unreadable_images_are_left_out_and_named(task):
    broken = task.choice.root / "query" / "0001_c1s1_2_1.png"
    broken.write_bytes(b"no image")
    metrics = run_reid(task)
    assert list(metrics["unreadable"]) == ["query/0001_c1s1_2_1.png"]
    assert metrics["answered"] == 2 * PEOPLE - 1


def test_a_query_in_the_gallery_is_one_image_when_re_ranked(tmp_path):
    """Re-ranking among N images, not among N and their doubles."""
    task = tiny_task(tmp_path, {"dataset": "named", "pattern": r"(?P<id>-?\d+)_c(?P<camera>\d).*", "train_classes": 0})
    way = Way(rerank=RerankOptions(5, 2))
    metrics = run_reid(replace(task, ways=(way,)))
    _, (vectors, _) = by_hand(task)
    index = KReciprocal(vectors.double(), RerankOptions(5, 2))
    whole = torch.cat(list(index.distances(torch.arange(len(vectors)), slice(None))))
    assert metrics["map"] == pytest.approx(by_hand(task, (-whole).tolist())[0]["map"])

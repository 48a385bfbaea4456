"""Predicting: features made once, workers, processes, and what an interrupted run leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.episodes.methods import Engine, HintKinds, build_method
from eval.episodes.plan import SegmentationTask
from eval.episodes.predictions import predict, predict_run
from eval.episodes.segmentation import run_segmentation
from eval.runs.provenance import code_digest, libraries
from eval.runs.shards import Shard, shard_of
from eval.runs.threads import single_threaded
from fewshot_seg.datasets.pascal import PascalVoc
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.episodes.protocols import build_protocol, draw_episodes
from fewshot_seg.errors import ConfigError, DataError, OutputError
from fewshot_seg.locks import sole_user
from fewshot_seg.matching.features import FeatureCache
from fewshot_seg.network.embedding import Embedder
from tests.conftest import ROOT
from tests.eval.tiny import contents, options_of, tiny_embedder, tiny_task

MIB = 2**20
PREDICTIONS, COUNTS = "predictions-centre-box.jsonl", "counts.npz"


@pytest.fixture
def task(tmp_path: Path) -> SegmentationTask:
    return tiny_task(tmp_path)


@pytest.fixture
def voc(task: SegmentationTask) -> PascalVoc:
    return PascalVoc(task.root, task.split_list)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return tiny_embedder()


@pytest.fixture
def passes(embedder: Embedder) -> Iterator[list[int]]:
    """The sizes of the batches that go through the network."""
    seen: list[int] = []
    hook = embedder.trunk.register_forward_hook(lambda module, images, result: seen.append(len(images[0])))
    yield seen
    hook.remove()


def silent(items: Any, total: int, what: str) -> Iterator[Any]:
    return iter(items)


def draw(voc: PascalVoc, count: int, way: int = 1, shot: int = 1) -> list[Episode]:
    return draw_episodes(build_protocol("hsnet", voc, (6, 7), shot, way, 0), count)


def images_of(episodes: list[Episode]) -> set[str]:
    return {image for one in episodes for images in ((one.query,), *one.supports.values()) for image in images}


# Features


@pytest.mark.parametrize(("way", "shot", "workers"), [(1, 1, 2), (2, 3, 3)])
def test_a_thousand_episodes_cost_one_pass_for_each_image(
    voc: PascalVoc, embedder: Embedder, passes: list[int], tmp_path: Path, way: int, shot: int, workers: int
) -> None:
    count = 1000 if way == 1 else 100
    episodes = draw(voc, count, way, shot)
    cache = FeatureCache(64 * MIB)
    name, hints = ("attention", HintKinds()) if way == 1 else ("paper", HintKinds("mask"))
    method = build_method(name, Engine(embedder, hints, cache=cache))
    predict_run(tmp_path, {name: method}, voc, episodes, workers, silent)
    assert len(passes) == cache.made == len(images_of(episodes)) == 16


def test_methods_share_the_features(voc: PascalVoc, embedder: Embedder, passes: list[int], tmp_path: Path) -> None:
    engine = Engine(embedder, cache=FeatureCache(64 * MIB))
    methods = {name: build_method(name, engine) for name in ("ours", "attention", "paper-letter")}
    predict_run(tmp_path, methods, voc, draw(voc, 20), 2, silent)
    assert passes == [1] * 16


def test_memory_and_workers_change_nothing(task: SegmentationTask) -> None:
    task = replace(task, way=2, shot=2, support_hint="mask", methods=("ours", "attention"))
    run_segmentation(task)
    whole = contents(task.out)
    assert {"predictions.jsonl", "predictions-attention.jsonl", "metrics.json", "config.json"} <= set(whole)
    for number, (memory, workers) in enumerate(((0, 1), (0, 3), (1024, 5))):
        other = replace(task, out=task.out.with_name(f"run{number}"), cache_memory=memory, workers=workers)
        run_segmentation(other)
        assert contents(other.out) == whole


def test_threads_in_torch_change_nothing_and_keep_their_number(task: SegmentationTask) -> None:
    before, found = torch.get_num_threads(), []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            out = task.out.with_name(f"threads{number}")
            run_segmentation(replace(task, out=out))
            assert torch.get_num_threads() == number
            found.append(contents(out))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_other_threads_are_told_of_the_one_thread() -> None:
    numbers = []
    with single_threaded() as one_thread:
        worker = threading.Thread(target=lambda: (one_thread(), numbers.append(torch.get_num_threads())))  # type: ignore[func-returns-value]
        worker.start()
        worker.join()
        numbers.append(torch.get_num_threads())
    assert numbers == [1, 1]


# Several processes


@pytest.mark.parametrize(("ranks", "methods"), [(2, ("attention", "centre-box")), (13, ("centre-box",))])
def test_shares_end_in_the_same_bytes(task: SegmentationTask, ranks: int, methods: tuple[str, ...]) -> None:
    task = replace(task, methods=methods)
    run_segmentation(task)
    whole = contents(task.out)
    for path in [*task.out.glob("predictions*"), task.out / "metrics.json"]:
        path.unlink()
    for rank in reversed(range(ranks)):
        metrics = run_segmentation(task, shard=Shard(rank, ranks))
        assert bool(metrics) == (rank == 0)
    assert contents(task.out) == whole


def test_shares_of_a_killed_run_serve_any_number_of_processes(task: SegmentationTask, voc: PascalVoc) -> None:
    """A share's lines are believed: those that were changed are in the run's file, at their places."""
    task = replace(task, methods=("centre-box",))
    run_segmentation(task)
    whole = contents(task.out)
    lines = whole["predictions-centre-box.jsonl"].decode().splitlines(keepends=True)
    for shard in (Shard(), Shard(0, 2), Shard(0, 3)):
        parts = task.out / "parts"
        parts.mkdir()
        marked = {place: json.loads(lines[place]) | {"mark": place} for place in (1, 4, 7)}
        text = "".join(json.dumps({"place": place} | line) + "\n" for place, line in marked.items())
        (parts / "predictions-centre-box.1-of-3.jsonl").write_text(text + '{"place": 10, "ind')
        strange = {"place": 2, "index": 5, "query": "a_0", "supports": {}, "masks": {}}
        (parts / "predictions-centre-box.4-of-9.jsonl").write_text(json.dumps(strange) + "\n")
        (task.out / "predictions-centre-box.jsonl").write_text("".join(lines[:3]))
        for rank in reversed(range(1, shard.count)):
            run_segmentation(task, shard=replace(shard, rank=rank))
        run_segmentation(task, shard=shard)
        now = (task.out / "predictions-centre-box.jsonl").read_text().splitlines(keepends=True)
        expected = [json.dumps(marked[place]) + "\n" if place in (4, 7) else line for place, line in enumerate(lines)]
        assert now == expected
        assert not parts.exists()


def test_ranks_at_the_same_time(task: SegmentationTask) -> None:
    task = replace(task, methods=("all-foreground",), episodes=200)
    whole = run_segmentation(replace(task, out=task.out.with_name("whole")))
    results: dict[int, Any] = {}

    def work(rank: int) -> None:
        results[rank] = run_segmentation(task, shard=Shard(rank, 3))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in (2, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == {0: whole, 1: {}, 2: {}}
    assert contents(task.out) == contents(task.out.with_name("whole"))


def test_torchrun_ends_in_the_same_numbers(task: SegmentationTask) -> None:
    whole = run_segmentation(task)
    parallel = replace(task, out=task.out.with_name("parallel"))
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "eval", "segment"]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, *torchrun, *options_of(parallel)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("metrics.json") == 1  # one process tells
    assert json.loads((parallel.out / "metrics.json").read_text()) == whole
    assert contents(parallel.out) == contents(task.out)


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({}, Shard(0, 1, 0)),
        ({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Shard(1, 4, 1)),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, Shard(3, 4, 1, 2)),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Shard(0, 1, 0)),
        ({"WORLD_SIZE": "4"}, Shard(0, 1, 0)),
    ],
)
def test_the_shard_of_an_environment(environment: dict[str, str], shard: Shard) -> None:
    assert shard_of(environment) == shard


@pytest.mark.parametrize("rank", ["4", "-1", "x", ""])
def test_an_impossible_environment(rank: str) -> None:
    with pytest.raises(ConfigError, match=r"rank 4 of 4|start with torchrun"):
        shard_of({"RANK": rank, "WORLD_SIZE": "4"})


def test_shares_are_all_and_each_once() -> None:
    for total in (0, 1, 7, 100):
        for count in (1, 2, 9):
            places = [place for rank in range(count) for place in Shard(rank, count).share(total)]
            assert sorted(places) == list(range(total))


# Interrupted runs


STATES = {
    "nothing": (),
    "a claim": ("config.json",),
    "a half-written config": (".fewshot-seg-12-0123abcd.tmp",),
    "episodes": ("config.json", "episodes.jsonl"),
    "the first method": ("config.json", "episodes.jsonl", "predictions-all-foreground.jsonl"),
    "all but the score": ("config.json", "episodes.jsonl", "predictions-all-foreground.jsonl", PREDICTIONS),
    "all but the metrics": ("config.json", "episodes.jsonl", "predictions-all-foreground.jsonl", PREDICTIONS, COUNTS),
    "a lock": ("config.json", "episodes.jsonl", ".lock", ".lock-1"),
}


@pytest.mark.parametrize(
    ("state", "ranks"), [*((state, 1) for state in STATES), ("episodes", 2), ("the first method", 2), ("a lock", 2)]
)
def test_whatever_a_kill_leaves_the_end_is_the_same(task: SegmentationTask, state: str, ranks: int) -> None:
    """Files are written whole or grow by lines, so these are all the states there are, but for lines."""
    task = replace(task, methods=("all-foreground", "centre-box"))
    run_segmentation(task)
    whole = contents(task.out)
    for path in task.out.iterdir():
        path.unlink()
    for name in STATES[state]:
        (task.out / name).write_bytes(whole.get(name, b""))
    for rank in reversed(range(ranks)):
        run_segmentation(task, shard=Shard(rank, ranks))
    left = {name: content for name, content in contents(task.out).items() if not name.endswith(".tmp")}
    assert left.keys() - {".lock-1"} == whole.keys()
    assert {name: left[name] for name in whole} == whole


FOREIGN = ("parts/mine.txt", "metrics.json", "report.html", "counts.npz", "config.json", "episodes.jsonl")


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_of_others_is_refused_before_anything_is_touched(task: SegmentationTask, name: str) -> None:
    (task.out / name).parent.mkdir(parents=True)
    (task.out / name).write_text("{}")
    with pytest.raises(ConfigError, match=r"holds other files and no run|config\.json is no run's"):
        run_segmentation(replace(task, methods=("all-foreground",)))
    assert [path for path in task.out.rglob("*") if path.is_file()] == [task.out / name]
    assert (task.out / name).read_text() == "{}"


def test_what_others_keep_in_a_run_s_folder_stays(task: SegmentationTask, tmp_path: Path) -> None:
    task = replace(task, methods=("all-foreground",))
    run_segmentation(task)
    whole = contents(task.out)
    (tmp_path / "elsewhere").mkdir()
    kept = (task.out / "parts" / "mine.txt", tmp_path / "elsewhere" / "predictions.0-of-2.jsonl")
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (task.out / "parts" / "predictions.0-of-2.jsonl").symlink_to(kept[1])
    (task.out / "parts" / "0-of-2.done").touch()
    (task.out / ".mine.tmp").touch()
    run_segmentation(task)
    assert [path.read_text() for path in kept] == ["mine", "mine"]
    assert sorted(path.name for path in (task.out / "parts").iterdir()) == ["mine.txt", "predictions.0-of-2.jsonl"]
    for path in (*(task.out / "parts").iterdir(), task.out / ".mine.tmp"):
        path.unlink()
    (task.out / "parts").rmdir()
    (task.out / "parts").symlink_to(tmp_path / "elsewhere")
    run_segmentation(task)
    assert kept[1].read_text() == "mine"
    (task.out / "parts").unlink()
    assert contents(task.out) == whole


@pytest.mark.parametrize("damage", [b"\n", b"{}garbage\n", b"\0\0\n", b"[1]\n"])
def test_a_damaged_line_is_named_and_what_follows_is_kept(task: SegmentationTask, damage: bytes) -> None:
    task = replace(task, methods=("all-foreground",))
    run_segmentation(task)
    path = task.out / "predictions-all-foreground.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for place in (1, len(lines) - 1):
        path.write_bytes(b"".join([*lines[:place], damage, *lines[place + 1 :]]))
        before = contents(task.out)
        with pytest.raises(DataError, match=rf"all-foreground\.jsonl:{place + 1}: is damaged; bring the file back"):
            run_segmentation(task)
        assert contents(task.out) == before
    path.write_bytes(b"".join(lines)[:-5])  # what a kill leaves
    run_segmentation(task)
    assert path.read_bytes() == b"".join(lines)


def test_killed_with_the_segmenter_at_work_it_recomputes_nothing(task: SegmentationTask, voc: PascalVoc) -> None:
    task = replace(task, episodes=2000, methods=("attention",))
    path = task.out / "predictions-attention.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "eval", "segment", *options_of(task)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= 20:
            break
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    there = path.read_bytes()
    lines = there[: there.rfind(b"\n") + 1]
    count = lines.count(b"\n")
    assert 20 <= count < 2000
    episodes = draw(voc, 2000)
    blind = build_method("all-foreground", None)  # whatever finishes it: what is there stays as it is
    assert predict(path, "attention", blind, voc, episodes, 2, silent) == 2000 - count
    assert path.read_bytes().startswith(lines)
    path.write_bytes(there)
    short = replace(task, out=task.out.with_name("whole"), episodes=count + 5)
    run_segmentation(short)
    whole = (short.out / path.name).read_bytes()
    assert predict(path, "attention", _network_method(task), voc, episodes[: count + 5], 1, silent) == 5
    assert path.read_bytes() == whole


def _network_method(task: SegmentationTask) -> Any:
    from fewshot_seg.network.embedding import load_embedder

    return build_method("attention", Engine(load_embedder(task.weights, device="cpu"), cache=FeatureCache(MIB)))


# The folder


def test_a_second_process_in_the_folder_is_refused(task: SegmentationTask) -> None:
    task = replace(task, methods=("centre-box",))
    run_segmentation(task)
    before = contents(task.out)
    with sole_user(task.out):
        done = subprocess.run(
            [sys.executable, "-m", "eval", "segment", *options_of(task)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        with pytest.raises(ConfigError, match="another process is at work in it; wait, or change --out"):
            run_segmentation(task)
    assert done.returncode == 1
    assert done.stderr.startswith("fewshot-eval: error: ")
    assert done.stderr.count("\n") == 1
    run_segmentation(task)
    assert contents(task.out) == before


def test_a_lock_ends_with_its_process_and_leaves_no_file(tmp_path: Path) -> None:
    hold = "from pathlib import Path; from fewshot_seg.locks import sole_user; import sys\n"
    hold += "with sole_user(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(ConfigError, match="another process"), sole_user(tmp_path):
        pass
    with sole_user(tmp_path, rank=1):  # another share of the same run
        pass
    process.kill()
    process.communicate()
    with sole_user(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(tmp_path.iterdir()) == []


def test_many_that_want_the_folder_get_it_one_at_a_time(tmp_path: Path) -> None:
    inside, most, held = 0, 0, 0

    def work() -> None:
        nonlocal inside, most, held
        while held < 200:
            try:
                with sole_user(tmp_path):
                    inside += 1
                    most = max(most, inside)
                    held += 1
                    time.sleep(0.0005)
                    inside -= 1
            except ConfigError:
                time.sleep(0.0001)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == 1


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="check the folder"), sole_user(tmp_path / "gone"):
        pass


@pytest.mark.parametrize("key", ["code_sha256", "weights_sha256", "libraries", "embedder", "segmenter"])
def test_predictions_made_with_something_else_are_refused(task: SegmentationTask, key: str) -> None:
    task = replace(task, episodes=1)
    run_segmentation(task)
    config = json.loads((task.out / "config.json").read_text())
    config[key] = {"torch": "0.1"} if isinstance(config[key], dict) else "0" * 64
    (task.out / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=f"holds another run: .*{key}"):
        run_segmentation(task)


def test_the_code_s_digest_is_of_what_decides_predictions() -> None:
    assert len(code_digest()) == 64
    assert libraries()["torch"] == torch.__version__.split("+")[0] or libraries()["torch"] == torch.__version__


@pytest.mark.parametrize("value", [-1, -1000])
def test_no_cache_of_less_than_nothing(task: SegmentationTask, value: int) -> None:
    with pytest.raises(ConfigError, match="cache memory"):
        replace(task, cache_memory=value)

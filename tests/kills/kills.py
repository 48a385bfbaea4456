"""Run as a program: commands that are killed at random points, and started again.

What they end with equals what an uninterrupted run ends with; no temporary file and no lock is left.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import torch
from typer.testing import CliRunner

import fewshot_seg as fs
from eval.cli import app as fewshot_eval
from fewshot_seg.cli import app as fewshot_seg
from tests.fuzz.stage import build
from tests.train_embed.matcher.tiny import make_all
from train_embed.cli import app as train_embed

APPS = {"fewshot-seg": fewshot_seg, "fewshot-eval": fewshot_eval, "train-embed": train_embed}
LITTER = re.compile(r"^(\.fewshot-seg-.*\.tmp|\.lock(-\d+)?|.*-journal|.*\.part)$")


class Job(NamedTuple):
    """What is killed.

    Attributes:
        name: for people.
        line: the command; the same goes on where it was stopped.
        out: the folder that it writes.
        before: a command that makes what it changes.
        resume: another command that goes on, where this file is there already.
    """

    name: str
    line: str
    out: str = "out"
    before: str | None = None
    resume: tuple[str, str] | None = None


TINY = "-w tiny.safetensors --device cpu"
BUILD = f"fewshot-seg index build out images/0.jpg images/1.png {TINY}"
SETS = "--set data.root=photos --set data.train_classes=2 --set sampler.p=2 --set run.epochs=2"
SEGMENT = (
    "fewshot-eval segment --root voc --split-list voc/list.txt --fold 1 --skip-small-classes --workers 1 --no-report"
)
MATCHER = "--threads 1 --steps 4 --presence-steps 4 --batch 2 --views 2 --out out/m.safetensors"
RESUME = "train-embed run --resume --out out"
JOBS = (
    Job("segment", f"fewshot-seg segment images/*.* -s it=voc/JPEGImages/a_0.jpg -q fast --threads 1 {TINY} --out out"),
    Job("index build", f"fewshot-seg index build out images {TINY}"),
    Job("index add", "fewshot-seg index add out images", before=BUILD),
    Job("index remove", "fewshot-seg index remove out images/0.jpg", before=BUILD),
    Job("index update", "fewshot-seg index update out", before=f"fewshot-seg index build out images {TINY}"),
    Job("index rebuild", "fewshot-seg index rebuild out", before=BUILD),
    Job("index accelerate", "fewshot-seg index accelerate out --with faiss-flat --threads 1", before=BUILD),
    Job("eval segment", f"{SEGMENT} --workers 1 --episodes 6 --bootstrap 20 {TINY} --out out"),
    Job("retrieval", f"fewshot-eval retrieval --root photos --classes 1-4 --no-report --workers 1 {TINY} --out out"),
    Job("reid", f"fewshot-eval reid --dataset csv --root people.csv --no-report --workers 1 {TINY} --out out"),
    Job(
        "train-embed run",
        f"train-embed run --config config.yaml {SETS} --out out",
        resume=("out/state.safetensors", "train-embed run --resume --out out"),
    ),
    Job("train-embed matcher", f"train-embed matcher --data voc=kit/voc --weights kit/tiny.safetensors {MATCHER}"),
)


def run(line: str, allowed: tuple[int, ...] = (0,)) -> None:
    program, *words = shlex.split(line)
    files = [sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in words]
    done = CliRunner().invoke(APPS[program], [one for found in files for one in found])
    assert done.exit_code in allowed, (line, done.output, done.exception)


def child(task: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            task()
        except BaseException:  # noqa: BLE001 - the parent sees the status
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
            os._exit(1)
        os._exit(0)
    return pid


def whole(task: Callable[[], None]) -> None:
    """The task in a child, to its end."""
    status = os.waitpid(child(task), 0)[1]
    assert status == 0, f"status {status}"


def results(job: Job) -> dict[str, Any]:
    """What a job ended with; vectors of an index, for a database's bytes tell its history."""
    out = Path(job.out)
    if job.name.startswith("index"):
        index = fs.Index.load(out, verify=True)
        return {path: index.vectors[row].tobytes() for row, path in enumerate(index.paths)}
    files = (path for path in out.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if path.suffix != ".png" or "curves" not in path.name}


def begin(job: Job) -> None:
    shutil.rmtree(job.out, ignore_errors=True)
    if job.before is not None:
        whole(lambda: run(job.before or ""))


def go_on(job: Job) -> None:
    """The command again; nothing is removed twice, and a whole matcher is not replaced."""
    there = job.resume is not None and Path(job.resume[0]).exists()
    run(
        job.resume[1] if there and job.resume else job.line,
        (0, 1) if job.name in ("index remove", "train-embed matcher") else (0,),
    )


def kill(job: Job, wanted: dict[str, Any], seconds: float, draw: random.Random) -> str | None:
    """One kill, at any moment or beyond the end; what is not as it must be afterwards, or None."""
    begin(job)
    pid = child(lambda: run(job.line))
    time.sleep(draw.uniform(0, seconds))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    whole(lambda: go_on(job))
    found = results(job)
    if found != wanted:
        return (
            f"differs: {sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))}"
        )
    litter = [path.name for path in Path(job.out).rglob("*") if LITTER.match(path.name)]
    return f"left: {litter}" if litter else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    draw, failed = random.Random(given.seed), 0
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        build(Path(place).resolve())
        make_all(Path("kit"))
        endings = ("jpg", "png", "webp", "tif", "gif", "bmp")
        rows = [f"images/{n}.{ending},{n % 3},{n % 2}" for n, ending in enumerate(endings)]
        Path("people.csv").write_text("\n".join(["path,id,camera", *rows]) + "\n")
        jobs = [job for job in JOBS if given.only in job.name]
        for number, job in enumerate(jobs):
            begin(job)
            start = time.monotonic()
            whole(lambda job=job: run(job.line))  # type: ignore[misc]
            seconds, wanted = time.monotonic() - start, results(job)
            for _ in range(given.kills // len(jobs) + (number < given.kills % len(jobs))):
                problem = kill(job, wanted, seconds, draw)
                if problem is not None:
                    failed += 1
                    sys.stdout.write(f"{job.name}: {problem}\n")
                    sys.stdout.flush()
        os.chdir("/")
    sys.stdout.write(
        f"{given.kills} kills, {failed} failed; {time.process_time():.0f} s of CPU beside the children's\n"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

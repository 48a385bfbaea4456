"""Run as a program: commands on files that are spoilt in thousands of ways.

Each case runs in a forked child of bounded memory and time. It must end with status 0, 1 or 2, say one line for each
error, and leave every other file in the whole folder as it was. The same seed gives the same cases.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from typer.testing import CliRunner

from eval.cli import app as fewshot_eval
from fewshot_seg.cli import app as fewshot_seg
from tests.fuzz.cases import CASES, Case
from tests.fuzz.mutations import spoil
from tests.fuzz.stage import build
from train_embed.cli import app as train_embed

APPS = {"fewshot-seg": fewshot_seg, "fewshot-eval": fewshot_eval, "train-embed": train_embed}
SECONDS = 10
TRACE = f"/tmp/fewshot-fuzz-{os.getpid()}.txt"
MEMORY = 6 * 2**30  # beyond what the process has mapped at its start
LITTER = re.compile(r"(^|/)(\.fewshot-seg-.*\.tmp|\.lock(-\d+)?)$")

Content = dict[str, bytes | str | None]


def contents(folder: Path) -> Content:
    """Each file's bytes, each link's target; None for folders and pipes."""
    found: Content = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def restore(folder: Path, wanted: Content) -> None:
    """The folder as it was; what is there by a name may be anything."""
    there = contents(folder)
    for name in sorted(there.keys() - wanted.keys(), reverse=True):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, content in sorted(wanted.items()):
        path = folder / name
        if content is None:
            path.mkdir(exist_ok=True)
        elif there.get(name) != content or not path.is_file():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            assert isinstance(content, bytes)
            path.write_bytes(content)


def wrong(case: Case, target: str, before: Content, folder: Path, done: Any) -> str | None:
    """What is not as it must be, or None."""
    if not isinstance(done.exception, SystemExit | None):
        frame = done.exc_info[2]
        while frame.tb_next is not None:
            frame = frame.tb_next
        where = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
        return f"traceback {type(done.exception).__name__} at {where}: {str(done.exception)[:200]}"
    if done.exit_code not in (0, 1, 2):
        return f"status {done.exit_code}"
    errors = [line for line in done.stderr.splitlines() if ": error: " in line]
    if done.exit_code and not errors:
        return f"status {done.exit_code} without a line: {done.stderr[-200:]!r}"
    if any(len(line) > 2000 for line in errors):
        return f"a line of {max(map(len, errors))} characters"
    after = contents(folder)
    for name in before.keys() | after.keys():
        if before.get(name, "") != after.get(name, "") and not case.may_write(name):
            is_folder = (
                name not in before and after[name] is None and any(one.startswith(f"{name}/") for one in case.writes)
            )
            if not is_folder:
                return f"{name} is {'gone' if name not in after else 'changed' if name in before else 'new'}"
        if LITTER.search(name) and name not in before:
            return f"litter: {name}"
    return None


def run_case(
    number: int, seed: int, folder: Path, clean: Content, told: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    draw = random.Random(f"{seed}/{number}")
    (case,) = draw.choices(CASES, [one.weight for one in CASES])
    names = [
        name
        for pattern in case.targets
        for name in sorted(clean)
        if Path(name).match(pattern) and clean[name] is not None
    ]
    target = draw.choice(names)
    how = spoil(folder / target, draw)
    told({"line": case.line, "target": target, "how": how})
    before = contents(folder)
    program, *words = shlex.split(case.line)
    start = time.process_time()
    done = CliRunner().invoke(APPS[program], words)
    problem = wrong(case, target, before, folder, done)
    seconds = time.process_time() - start
    restore(folder, clean)
    return {
        "number": number,
        "line": case.line,
        "target": target,
        "how": how,
        "problem": problem,
        "seconds": seconds,
        "status": done.exit_code,
    }


def child(numbers: range, seed: int, folder: Path, clean: Content, pipe: int) -> None:
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    trace = Path(TRACE).open("wb")  # noqa: SIM115 - until the process ends

    def told(one: dict[str, Any]) -> None:
        os.write(pipe, json.dumps(one).encode() + b"\n")

    for number in numbers:
        faulthandler.dump_traceback_later(SECONDS, exit=True, file=trace)
        told(run_case(number, seed, folder, clean, told))
    os._exit(0)


def results(numbers: range, seed: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Each case's; a child that dies has a successor for the cases after."""
    clean = contents(folder)
    while numbers:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                os.chdir(folder)
                child(numbers, seed, folder, clean, writer)
            except BaseException:  # noqa: BLE001 - a fault of the harness: shown, and counted as a failed case
                traceback.print_exc(file=sys.stdout)
                sys.stdout.flush()
            finally:
                os._exit(70)
        os.close(writer)
        with os.fdopen(reader) as lines:
            known: dict[str, Any] = {}
            for line in lines:
                known |= json.loads(line)
                if "number" in known:
                    yield known
                    known, numbers = {}, numbers[1:]
        status = os.waitpid(pid, 0)[1]
        if numbers:
            code = os.waitstatus_to_exitcode(status)
            end = f"took too long: {Path(TRACE).read_text()[-3000:]}" if code == 1 else f"died of {code}"
            yield {"number": numbers[0], "line": "?", "seconds": 0.0, **known, "problem": end}
            numbers = numbers[1:]
            restore(folder, clean)


def share_out(cases: int, first: int, seed: int, workers: int) -> int:
    """All of it by several processes; 1 if a case failed."""
    words = [sys.executable, "-m", "tests.fuzz.fuzz", "--seed", str(seed)]
    part = -(-cases // workers)
    starts = range(first, first + cases, part)
    running = [subprocess.Popen([*words, "--cases", str(part), "--first", str(start)]) for start in starts]
    return max([one.wait() for one in running])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    if given.workers > 1:
        sys.exit(share_out(given.cases, given.first, given.seed, given.workers))
    torch.set_num_threads(1)
    cv2.setNumThreads(1)  # its pool does not outlive a fork
    failed: dict[str, list[dict[str, Any]]] = {}
    start = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        os.chdir(folder)
        build(folder)
        built = time.process_time() - start
        spent: dict[str, list[float]] = {}
        for one in results(range(given.first, given.first + given.cases), given.seed, folder):
            spent.setdefault(one["line"], []).append(one["seconds"])
            if one["problem"] is not None:
                failed.setdefault(one["problem"].split(":")[0] + one["line"][:30], []).append(one)
                sys.stdout.write(f"{json.dumps(one)}\n")
                sys.stdout.flush()
        os.chdir("/")
    for line, seconds in sorted(spent.items(), key=lambda item: -sum(item[1]))[:8]:
        sys.stdout.write(f"{sum(seconds):6.1f} s in {len(seconds)} cases: {line[:90]}\n")
    count = sum(map(len, failed.values()))
    sys.stdout.write(f"{given.cases} cases, {count} failed in {len(failed)} ways; built in {built:.1f} s of CPU\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

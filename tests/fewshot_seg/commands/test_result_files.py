"""results.jsonl: what is finished is kept, a kill's half line counts for nothing, and --resume and --shard add up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewshot_seg.commands import result_log
from fewshot_seg.commands.result_files import known_stems, read_results
from fewshot_seg.commands.result_log import ResultsLog, Shard, held
from fewshot_seg.errors import ConfigError
from tests.fewshot_seg.command_line import error_line, fewshot, names_in, results_of


def entry(name: str, error: str | None = None) -> dict[str, Any]:
    files = {"mask": None, "overlay": None} if error else {"mask": f"{name}_mask.png", "overlay": f"{name}_overlay.jpg"}
    return {"path": f"/photos/{name}.jpg", "size": [1, 1], "error": error, "objects": [], "absent": []} | files


def log_of(folder: Path, *names: str, resume: bool = False, shard: Shard | None = None, by: str = "x") -> ResultsLog:
    log = ResultsLog(folder, shard, ["cup"], by, resume)
    for name in names:
        log.add(entry(name))
    return log


def names(folder: Path) -> list[str]:
    return [Path(one["path"]).stem for one in read_results(folder).images]


def test_a_finished_run_leaves_results_json_and_a_killed_one_its_lines(tmp_path: Path) -> None:
    log_of(tmp_path, "a", "b").close()
    assert names_in(tmp_path) == ["results.json"]
    log_of(tmp_path, "b", "c")  # killed: never closed
    with (tmp_path / "results.jsonl").open("ab") as stream:
        stream.write(b'{"path": "/photos/d.jpg", "si')
    assert names(tmp_path) == ["a", "b", "c"]
    assert set(known_stems(tmp_path).values()) == {"a", "b", "c"}
    log = log_of(tmp_path, "d", resume=True)
    assert {Path(path).stem for path in log.done} == {"a", "b", "c"}
    log.close()
    assert names(tmp_path) == ["a", "b", "c", "d"]
    assert names_in(tmp_path) == ["results.json"]


def test_a_failed_image_is_tried_again_and_the_last_line_of_an_image_counts(tmp_path: Path) -> None:
    log = log_of(tmp_path, "a")
    log.add(entry("b", "no image"))
    again = log_of(tmp_path, resume=True)
    assert {Path(path).stem for path in again.done} == {"a"}
    again.add(entry("b"))
    again.close()
    assert [one["error"] for one in read_results(tmp_path).images] == [None, None]


def test_a_run_of_other_options_is_no_run_to_go_on_with(tmp_path: Path) -> None:
    log_of(tmp_path, "a")
    with pytest.raises(ConfigError, match="leave --resume out"):
        log_of(tmp_path, resume=True, by="y")
    log_of(tmp_path, "b", by="y").close()
    assert names(tmp_path) == ["a", "b"], "the killed run's results stay"
    assert read_results(tmp_path).made_by is None
    log_of(tmp_path / "..", resume=False).close()


def test_parts_add_up_and_the_next_run_takes_them_in(tmp_path: Path) -> None:
    for number in (1, 2):
        with held(tmp_path, Shard(number, 2)):
            assert log_of(tmp_path, "ab"[number - 1], shard=Shard(number, 2)).close() is False
    assert names_in(tmp_path) == ["results-1-of-2.jsonl", "results-2-of-2.jsonl"]
    assert names(tmp_path) == ["a", "b"]
    with held(tmp_path, Shard(1, 2)), pytest.raises(ConfigError, match="another process"), held(tmp_path, None):
        pass
    with held(tmp_path, None):
        log_of(tmp_path, "c").close()
    assert names_in(tmp_path) == ["results.json"]
    assert names(tmp_path) == ["a", "b", "c"]


def test_many_stay_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_log, "MOST_IN_ONE", 3)
    assert log_of(tmp_path, *"abcd").close() is False
    assert names_in(tmp_path) == ["results.jsonl"]
    assert log_of(tmp_path, "e", resume=True).close() is False
    assert names(tmp_path) == list("abcde")
    with pytest.raises(ConfigError, match="choose another --out"):
        log_of(tmp_path, by="y")
    assert names(tmp_path) == list("abcde")


@pytest.mark.parametrize("text", ["", "{}\n", "[1]\n", '{"classes": [1], "made_by": ""}\n', "\0\0", "[" * 99999 + "\n"])
def test_another_programs_file_of_that_name_is_refused_and_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(text)
    for use in (lambda: read_results(tmp_path), lambda: known_stems(tmp_path), lambda: log_of(tmp_path)):
        with pytest.raises(ConfigError, match="no result of an earlier run"):
            use()
    assert path.read_text() == text


def test_damage_inside_is_named_by_its_line(tmp_path: Path) -> None:
    log_of(tmp_path, "a", "b")
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"error"', b'"eror"', 1))
    with pytest.raises(ConfigError, match="line 2"):
        read_results(tmp_path)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 50), st.integers(1, 9))
def test_parts_have_everything_once(count: int, parts: int) -> None:
    items = range(count)
    assert sorted(x for number in range(parts) for x in Shard(number + 1, parts).of(items)) == list(items)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2"])
def test_a_part_is_checked(text: str) -> None:
    with pytest.raises(ConfigError, match="I/N"):
        Shard.parse(text)


def test_segment_resumes_after_a_kill_and_in_parts_with_equal_results(photos: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b", "c"):
        shutil.copy(photos / "cat face.png", folder / f"{name}.png")
    asked = [folder, "--support", f"cat={photos / 'cat.png'}", "--refine", "none", "--out"]
    assert fewshot("segment", *asked, out).exit_code == 0
    whole, masks = results_of(out), {path.name: path.read_bytes() for path in out.glob("*_mask.png")}
    header = {"classes": whole["classes"], "made_by": whole["made_by"]}
    lines = [json.dumps(line).encode() for line in (header, *whole["images"])]
    (out / "results.json").unlink()
    (out / "c_mask.png").unlink()
    (out / "c_overlay.jpg").unlink()
    (out / "results.jsonl").write_bytes(b"\n".join(lines[:3]) + b"\n" + lines[3][:40])  # killed in the third line
    done_before = (out / "a_mask.png").stat().st_mtime_ns
    again = fewshot("segment", *asked, out, "--resume")
    assert "3 of 3 images are in" in again.output
    assert "2 of them from before" in again.output
    assert results_of(out) == whole
    assert {path.name: path.read_bytes() for path in out.glob("*_mask.png")} == masks
    assert (out / "a_mask.png").stat().st_mtime_ns == done_before
    other = fewshot("segment", *asked, out, "--resume", "--always")
    assert "leave --resume out" in error_line(other)
    for part in ("1/2", "2/2"):
        assert fewshot("segment", *asked, tmp_path / "parts", "--shard", part).exit_code == 0
    parts = read_results(tmp_path / "parts").images
    assert sorted(one["path"] for one in parts) == [one["path"] for one in whole["images"]]
    assert all((tmp_path / "parts" / name).read_bytes() == content for name, content in masks.items())

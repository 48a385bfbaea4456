"""`fewshot-seg segment --sequence`: frames in order and videos, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from tests.fewshot_seg.command_line import error_line, fewshot, names_in, results_of

CUP = (slice(60, 360), slice(160, 460))  # of coffee.png, 400 x 600


def moved(step: int) -> np.ndarray:
    return np.roll(skimage.data.coffee(), 6 * step, axis=1)


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("example")
    Image.fromarray(moved(0)).save(folder / "first.png")
    mask = np.zeros((400, 600), np.uint8)
    mask[CUP] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return ["--support", f"cup={folder / 'first.png'}", "--support-mask", f"cup={folder / 'mask.png'}"]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 7.0, (600, 400))
    for step in range(1, 5):
        writer.write(moved(step)[:, :, ::-1])
    writer.release()
    return path


def film(path: Path) -> tuple[int, tuple[int, int], float]:
    """Frames, (width, height), and frames per second."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    return count, size, capture.get(cv2.CAP_PROP_FPS)


def test_a_video_becomes_frames_masks_overlays_and_a_film_and_again_the_same(example, video, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        done = fewshot("segment", video, "--sequence", *example, "--out", out)
        assert done.exit_code == 0, done.stderr
        images = results_of(out)["images"]
        assert [Path(image["path"]).name for image in images] == [f"clip_{i:06d}.jpg" for i in range(4)]
        assert {image["objects"][0]["meaning"] for image in images} == {"thing"}
        assert film(out / "overlay.mp4") == (4, (600, 400), 7.0)
    assert names_in(out) == sorted(
        ["frames", "overlay.mp4", "results.json"]
        + [f"clip_{i:06d}{end}" for i in range(4) for end in ("_mask.png", "_overlay.jpg")]
    )
    assert "thing" in done.stdout


def test_what_cannot_be_a_sequence_is_refused_before_anything_is_written(example, video, tmp_path):
    out = tmp_path / "out"
    for arguments, message in (
        ((video,), "add --sequence"),
        ((video, video, "--sequence"), "one video is one sequence"),
        ((video, "--sequence", "--joint"), "choose one"),
    ):
        done = fewshot("segment", *arguments, *example, "--out", out)
        assert done.exit_code != 0
        assert message in error_line(done)
        assert not out.exists()


def test_no_video_a_foreign_film_and_foreign_frames_are_refused(example, video, tmp_path):
    (broken := tmp_path / "broken.mp4").write_bytes(b"no video")

    def refused(query: Path, out: str) -> str:
        return error_line(fewshot("segment", query, "--sequence", *example, "--out", tmp_path / out))

    assert "can't read it as a video" in refused(broken, "a")
    assert "no such video" in refused(tmp_path / "no.mp4", "b")
    (theirs := tmp_path / "c" / "overlay.mp4").parent.mkdir()
    theirs.write_bytes(b"theirs")
    assert "no result of an earlier run" in refused(video, "c")
    assert theirs.read_bytes() == b"theirs"
    (frames := tmp_path / "d" / "frames").mkdir(parents=True)
    (frames / "clip_000000.jpg").write_bytes(b"theirs")
    assert "something else" in refused(video, "d")
    assert (frames / "clip_000000.jpg").read_bytes() == b"theirs"


def test_the_user_says_what_is_meant(example, tmp_path):
    Image.fromarray(moved(2)).save(tmp_path / "query.png")
    for meaning in ("kind", "thing"):
        done = fewshot("segment", tmp_path / "query.png", "--meaning", meaning, *example, "--out", tmp_path / meaning)
        assert done.exit_code == 0, done.stderr
        (entry,) = results_of(tmp_path / meaning)["images"][0]["objects"]
        assert entry["meaning"] == meaning

"""Videos: a file to numbered frames, and pictures to a file. One frame is in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from fewshot_seg.errors import DataError, OutputError, describe
from fewshot_seg.imaging.decode import read_image
from fewshot_seg.imaging.export import make_folder, temporary_path, write_image, write_json

VIDEO_SUFFIXES: Final = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
FRAMES_PER_SECOND: Final = 12.0
"""Of what is written from single images."""

_MANIFEST: Final = "video.json"


def is_video(path: str | Path) -> bool:
    """Whether a name ends as a video's does."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def frames_per_second(video: str | Path) -> float:
    """A video's own; what single images get where it doesn't say."""
    with _opened(Path(video)) as capture:
        found = float(capture.get(cv2.CAP_PROP_FPS))
    return found if 0 < found < 1000 else FRAMES_PER_SECOND


def write_frames(video: str | Path, folder: str | Path) -> Iterator[Path]:
    """Writes a video's frames as NAME_000000.jpg and on, and says so in video.json; those that are there stay.

    Args:
        video: a file that OpenCV reads.
        folder: new, empty, or with frames of the same video.

    Yields:
        The frames' paths, in order.

    Raises:
        DataError: the file is no video, or has no frame, or the folder holds anything else. OutputError: it can't
            be written.
    """
    source, target = Path(video), make_folder(folder)
    if not source.is_file():
        raise DataError(f"{describe(source)}: there is no such video")
    status = source.stat()
    mine = {"video": str(source), "bytes": status.st_size, "changed": status.st_mtime_ns}
    manifest = target / _MANIFEST
    if any(target.iterdir()) and (not manifest.is_file() or json.loads(manifest.read_text("utf-8")) != mine):
        raise DataError(f"{describe(target)}: holds something else than this video's frames; choose another folder")
    write_json(manifest, mine)
    with _opened(source) as capture:
        number = 0
        while (found := capture.read())[0]:
            path = target / f"{source.stem}_{number:06d}.jpg"
            if not path.exists():
                write_image(path, np.ascontiguousarray(found[1][:, :, ::-1], dtype=np.uint8))
            yield path
            number += 1
    if number == 0:
        raise DataError(f"{describe(source)}: OpenCV reads no frame of it; convert it to MP4 (H.264)")


def write_video(pictures: Sequence[Path], path: Path, fps: float = FRAMES_PER_SECOND) -> None:
    """Writes pictures, each brought to the first one's size, as an MP4.

    Raises:
        OutputError: it can't be written. ImageError: a picture can't be read.
    """
    temporary = temporary_path(path).with_suffix(path.suffix)
    height, width = read_image(pictures[0]).shape[:2]
    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    try:
        if not writer.isOpened():
            raise OutputError(f"{describe(path)}: OpenCV can't write it; see whether the folder can be written to")
        for picture in pictures:
            image = read_image(picture)
            if image.shape[:2] != (height, width):
                image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            writer.write(np.ascontiguousarray(image[:, :, ::-1]))
        writer.release()
        temporary.replace(path)
    finally:
        writer.release()
        temporary.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    """A video while it is read; DataError where OpenCV can't open it."""
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise DataError(f"{describe(path)}: OpenCV can't read it as a video; convert it to MP4 (H.264)")
        yield capture
    finally:
        capture.release()

"""A project at work: what the page asks for, done with the engine and kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fewshot_seg.cutting.instances import instances_of
from fewshot_seg.errors import ConfigError, FewShotError
from fewshot_seg.imaging.export import atomic_file, write_label_png
from fewshot_seg.imaging.find import find_images
from fewshot_seg.imaging.geometry import bounding_box
from fewshot_seg.imaging.images import read_image
from fewshot_seg.matching.features import FeatureCache
from fewshot_seg.network.embedding import Embedder
from fewshot_seg.prompts.supports import support_constraints
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.segmentation.results import Segmentation
from fewshot_seg.segmentation.segmenter import Segmenter
from fewshot_seg.web.examples import support_of, supports_of
from fewshot_seg.web.jobs import progress
from fewshot_seg.web.labels import Kept, Settings, cut, draw_strokes, read_labels, renumbered
from fewshot_seg.web.project import Project
from fewshot_seg.web.refusals import BAD, MISSING, RefusalError
from fewshot_seg.web.views import Now, shown_example, shown_image, version_of

_CACHE: Final = 512 * 2**20  # bytes of features: what was seen before needs no second pass through the network
_RECENT: Final = 8  # images whose pixels and masks stay in memory


class Workbench:
    """A project and the engine that works on it. Threads may share it.

    Args:
        project: open.
        embedder: of all its segmentations.
        options: of the segmenter; sliders change some.
        folders: those whose images may be opened.
    """

    def __init__(
        self, project: Project, embedder: Embedder, options: SegmenterOptions, folders: Sequence[Path] = ()
    ) -> None:
        self.project = project
        self.embedder = embedder
        self.folders = list(folders)
        self._options = options
        self._features = FeatureCache(_CACHE)
        # What a person is at work on is made once: an image's pixels, its cut, and its masks with all corrections.
        self._pixels = lru_cache(_RECENT)(read_image)
        self._cuts = lru_cache(_RECENT)(self._cut)
        self._labels = lru_cache(_RECENT)(self._corrected)

    # What the page sees

    def state(self) -> dict[str, Any]:
        """The whole project."""
        project, now = self.project, self._now()
        return {
            "name": project.folder.resolve().name,
            "classes": project.classes(),
            "examples": [shown_example(one) for one in project.examples()],
            "images": [shown_image(image, now) for image in project.images()],
            "folders": [{"id": place, "name": folder.name or str(folder)} for place, folder in enumerate(self.folders)],
            "settings": {"threshold": now.settings.threshold, "presence": now.presence, "meaning": self._meaning()},
            "clicks": project.setting("clicks", 0),
        }

    def image(self, number: int) -> dict[str, Any]:
        """One image, as `state` has it."""
        return shown_image(self.project.image(number), self._now())

    def example(self, number: int) -> dict[str, Any]:
        """One example, as `state` has it."""
        return shown_example(self.project.example(number))

    def labels(self, number: int) -> NDArray[np.int32]:
        """An image's masks as they are now: accepted, or cut from what was found with its corrections.

        Returns:
            (H,W) int32: 0 background, k the project's k-th class.

        Raises:
            RefusalError: it has not been run. FewShotError: its file is gone.
        """
        image = self.project.image(number)
        if image["state"] != "done":
            raise RefusalError(MISSING, f"image {number} has no result yet: run it first")
        return self._labels(number, version_of(image, self._now()))

    def result(self, number: int, count: bool = True) -> dict[str, Any]:
        """What `labels` shows of each class: areas, boxes, and how many things if they are to be counted."""
        shown, found = self.image(number), self.labels(number)
        known = {one["class"]: one for one in shown["objects"]}
        objects = []
        for label, name in enumerate(self.project.classes(), start=1):
            mask = found == label
            if name not in known and not mask.any():
                continue
            about = known.get(name, {"class": name, "score": 1.0, "doubtful": False, "meaning": "kind"})
            shape = {"area": int(mask.sum()), "bbox": bounding_box(mask) if mask.any() else None}
            objects.append(
                about | {"present": bool(mask.any()), "instances": len(instances_of(mask)) if count else None} | shape
            )
        return {"version": shown["version"], "size": shown["size"], "objects": objects}

    def attention(self, number: int, class_name: str) -> NDArray[np.float32]:
        """(h,w) float32 in [0, 1]: where a class was seen in an image. RefusalError: it was not looked for."""
        if self.project.image(number)["state"] == "done":
            kept = Kept.load(self.project.maps_file(number))
            if class_name in kept.classes:
                return np.asarray(kept.located.maps[kept.classes.index(class_name)])
        raise RefusalError(MISSING, f"class {class_name!r} was not looked for in image {number}")

    # What the page does

    def add_upload(self, name: str, upload: Path, *, query: bool) -> dict[str, Any]:
        """Keep an uploaded image, once however often it comes. ImageError: it can't be read."""
        size = read_image(upload).shape[:2]
        with upload.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()[:32]
        file = self.project.folder / "images" / digest
        if not file.exists():
            with atomic_file(file) as target, upload.open("rb") as stream:
                shutil.copyfileobj(stream, target)
        return self.image(self.project.add_image(name, digest, size, uploaded=True, query=query))

    def open_folder(self, place: int) -> list[dict[str, Any]]:
        """All images of a folder become queries; links that lead out of it are left out."""
        if not 0 <= place < len(self.folders):
            raise RefusalError(MISSING, f"the server was started without a folder number {place}")
        root = os.path.realpath(self.folders[place])
        numbers = []
        with self.project.change():
            for path in find_images([root], recursive=True):
                real = os.path.realpath(path)
                if os.path.commonpath([root, real]) == root:
                    name = os.path.relpath(path, root)
                    numbers.append(self.project.add_image(name, real, (0, 0), uploaded=False, query=True))
        now, wanted = self._now(), set(numbers)
        return [shown_image(image, now) for image in self.project.images() if image["id"] in wanted]

    def set(self, **values: float | str | None) -> None:
        """Change settings, of threshold, presence and meaning those that are given."""
        with self.project.change():
            for name, value in values.items():
                self.project.set(name, value)

    def edit(self, number: int, edits: list[dict[str, Any]]) -> dict[str, Any]:
        """Set all of an image's corrections; DataError where one can't be."""
        before = self.project.image(number)
        with self.project.change():
            self.project.change_image(number, edits=edits, accepted=None)
            more = max(0, len(edits) - len(before["edits"]))
            self.project.count_clicks(more)
            result = self.result(number, count=False)  # raises what is wrong with them, and they are not kept
        return {"image": self.image(number), "objects": result["objects"]}

    def accept(self, number: int, accepted: bool) -> dict[str, Any]:
        """Keep an image's masks as they are now, whatever sliders and runs do; or no longer."""
        if accepted:
            write_label_png(self.project.mask_file(number), self.labels(number))
        with self.project.change():
            changed = {"accepted": self.project.classes(), "run": self.project.image(number)["run"] + 1}
            self.project.change_image(number, **(changed if accepted else {"accepted": None}))
            self.project.count_clicks()
        return self.image(number)

    def make_examples(self, number: int) -> list[dict[str, Any]]:
        """An image's accepted masks as further examples, one of each class. RefusalError: none accepted."""
        image = self.project.image(number)
        if image["accepted"] is None:
            raise RefusalError(BAD, "accept the masks of this image first")
        labels, classes = self.labels(number), self.project.classes()
        numbers = []
        with self.project.change():
            for old in [
                one for one in self.project.examples() if one["image"] == number and one["hint"] == {"mask": True}
            ]:
                self.project.remove_example(old["id"])
            for place in sorted(set(np.unique(labels).tolist()) - {0}):
                numbers.append(self.project.add_example(number, classes[place - 1], {"mask": True}))
                write_label_png(self.project.example_file(numbers[-1]), (labels == place).astype(np.int32))
            self.project.count_clicks()
        if not numbers:
            raise RefusalError(BAD, "nothing is marked in this image: it can't be an example")
        return [self.example(one) for one in numbers]

    def set_example(
        self, number: int | None, image: int | None, class_name: str, hint: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Add an example (number None) of an image, or change one. FewShotError: the hint can't be one of it."""
        shown = self.project.image(int(image or 0) if number is None else self.project.example(number)["image"])
        support_constraints(support_of(self.project, shown, hint), read_image(self.project.path(shown)).shape[:2])
        with self.project.change():
            if number is None:
                number = self.project.add_example(shown["id"], class_name, hint)
            else:
                self.project.change_example(number, class_name, hint)
            self.project.count_clicks(1 if hint else 0)
        return self.example(number)

    def run(self, numbers: Sequence[int] | None) -> Iterator[dict[str, Any]]:
        """Look for all classes that have examples, in these images or in all queries that aren't accepted.

        Yields:
            {"done", "total", "seconds_left", "image"} as each is done, and last {"finished": True, "seconds"}.

        Raises:
            ConfigError: no examples, or nothing to run. FewShotError: an example can't be used.
        """
        start = time.monotonic()
        images = [self.project.image(n) for n in numbers] if numbers is not None else self.project.images()
        images = [one for one in images if one["accepted"] is None and (numbers is not None or one["query"])]
        if not images:
            raise ConfigError("there is nothing to run: add images that are not accepted yet")
        segmenter = Segmenter(self.embedder, self._run_options(), self._features)
        prepared = segmenter.prepare(supports_of(self.project))
        outcomes = segmenter.segment_many(map(self.project.path, images), prepared, on_error="yield")
        for done, (image, outcome) in enumerate(zip(images, outcomes, strict=True), start=1):
            self._keep(image, outcome)
            yield progress(done, len(images), start) | {"image": self.image(image["id"])}
        yield {"finished": True, "seconds": round(time.monotonic() - start, 2)}

    def _keep(self, image: dict[str, Any], outcome: Segmentation | FewShotError) -> None:
        number, run = image["id"], image["run"] + 1
        if isinstance(outcome, FewShotError):
            self.project.change_image(number, state="error", error=str(outcome), run=run)
            return
        kept = Kept.of(outcome)
        kept.save(self.project.maps_file(number))
        found = [
            {
                "class": one.name,
                "score": round(float(one.score), 6),
                "meaning": one.meaning,
                "calibrated": one.threshold is not None,
            }
            for one in outcome.objects
        ]
        height, width = outcome.size
        about = {"state": "done", "error": None, "run": run, "found": found, "height": height, "width": width}
        self.project.change_image(number, **about)

    def _corrected(self, number: int, _version: str) -> NDArray[np.int32]:
        """`labels`, of this version."""
        image, classes = self.project.image(number), self.project.classes()
        if image["accepted"] is not None:
            return renumbered(read_labels(self.project.mask_file(number)), image["accepted"], classes)
        points = [edit for edit in image["edits"] if "point" in edit]
        options = self._settings().options(self._options)
        found, looked_for = self._cuts(number, image["run"], json.dumps(points), options)
        labels = renumbered(found, looked_for, classes)
        draw_strokes(labels, image["edits"], classes)
        return labels

    def _cut(
        self, number: int, _run: int, points: str, options: SegmenterOptions
    ) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """The masks before any stroke, and the classes that they are of."""
        kept = Kept.load(self.project.maps_file(number))
        pixels = self._pixels(self.project.path(self.project.image(number)))
        return cut(pixels, kept, json.loads(points), options), kept.classes

    def _run_options(self) -> SegmenterOptions:
        """Sliders cut what is kept, so a run goes without them."""
        return replace(self._options, meaning=self._meaning(), always=False)

    def _meaning(self) -> Any:
        return self.project.setting("meaning", "auto")

    def _settings(self) -> Settings:
        return Settings(self.project.setting("threshold"), self.project.setting("presence"))

    def _now(self) -> Now:
        settings = self._settings()
        return Now(tuple(self.project.classes()), settings, settings.options(self._options).presence)

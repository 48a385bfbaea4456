"""A project's examples as the segmenter's supports."""

from __future__ import annotations

from typing import Any

import numpy as np

from fewshot_seg.commands.segment import MOST_CLASSES
from fewshot_seg.errors import ConfigError
from fewshot_seg.imaging.images import read_image
from fewshot_seg.prompts.supports import Support
from fewshot_seg.web.labels import stroke_mask
from fewshot_seg.web.project import Project


def supports_of(project: Project) -> dict[str, list[Support]]:
    """All examples by class, in the classes' order.

    Raises:
        ConfigError: there is none, or one of more classes than a label map holds.
    """
    supports: dict[str, list[Support]] = {}
    for one in project.examples():
        image = project.image(one["image"])
        supports.setdefault(one["class"], []).append(support_of(project, image, one["hint"], one["id"]))
    if not supports:
        raise ConfigError("there is no example yet: choose an image that shows what is meant")
    if len(supports) > MOST_CLASSES:
        raise ConfigError(f"{len(supports)} classes: an 8-bit label map holds at most {MOST_CLASSES}")
    return {name: supports[name] for name in project.classes() if name in supports}


def support_of(
    project: Project, image: dict[str, Any], hint: dict[str, Any] | None, example: int | None = None
) -> Support:
    """An image with what is marked in it; of an accepted one the mask that is kept for this example."""
    path = project.path(image)
    if not hint:
        return Support(path)
    if "mask" in hint and example is not None:
        return Support(path, mask=project.example_file(example))
    if "strokes" in hint:
        size = read_image(path).shape[:2]
        drawn = np.zeros(size, np.uint8)
        for stroke in hint["strokes"]:
            drawn[stroke_mask(stroke, size)] = 1 if stroke["foreground"] else 2
        return Support(path, scribble=drawn)
    return Support(path, box=hint.get("box"), points=hint.get("points"))

"""What the page is shown of a project's images and examples: plain JSON of what the database holds."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

from fewshot_seg.segmentation.results import DOUBTFUL
from fewshot_seg.web.labels import Settings


class Now(NamedTuple):
    """What the masks of all images hang on."""

    classes: tuple[str, ...]
    settings: Settings
    presence: float  # the threshold that holds, set or not


def shown_image(image: dict[str, Any], now: Now) -> dict[str, Any]:
    """An image's row as the page has it; nothing is cut for it."""
    marked = {edit["class"] for edit in image["edits"] if {**edit, **edit.get("stroke", {})}["foreground"]}
    objects = []
    for one in image["found"]:
        sure = not one["calibrated"] or one["class"] in marked
        near = not sure and abs(one["score"] - now.presence) <= DOUBTFUL
        about = {name: one[name] for name in ("class", "score", "meaning")}
        objects.append(about | {"present": sure or one["score"] >= now.presence, "doubtful": near})
    plain = {name: image[name] for name in ("id", "name", "state", "error", "edits")}
    size = [image["height"], image["width"]] if image["height"] else None
    flags = {"query": bool(image["query"]), "accepted": image["accepted"] is not None}
    return plain | flags | {"size": size, "version": version_of(image, now), "objects": objects}


def shown_example(example: dict[str, Any]) -> dict[str, Any]:
    """An example's row as the page has it."""
    hint = example["hint"]
    return {**example, "accepted": bool(hint) and "mask" in hint}


def version_of(image: dict[str, Any], now: Now) -> str:
    """Changes whenever an image's labels may have."""
    about = [image["run"], image["edits"], image["accepted"], now.classes, now.settings]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]

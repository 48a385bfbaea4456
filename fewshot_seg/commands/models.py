"""`fewshot-seg models`: the names that `--weights` takes."""

from __future__ import annotations

COLUMNS = ("name", "backbone", "present", "weights", "note")


def model_rows() -> list[tuple[str, ...]]:
    """One row per model: its name, backbone, whether its weights are here, where they come from, a note."""
    from fewshot_seg.network.embedding import models

    return [
        (model.name, model.backbone, "yes" if model.present else "no", model.source, model.note) for model in models()
    ]

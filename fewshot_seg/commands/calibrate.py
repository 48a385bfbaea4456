"""`fewshot-seg calibrate`: the presence threshold that suits one's own images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from fewshot_seg.commands.console import complain, tracked
from fewshot_seg.commands.engine import Engine
from fewshot_seg.commands.supports import Shot
from fewshot_seg.commands.way import Way
from fewshot_seg.errors import ConfigError, FewShotError
from fewshot_seg.imaging.images import find_images
from fewshot_seg.prompts.supports import Support
from fewshot_seg.segmentation.calibration import Calibration, calibrate


def run_calibrate(
    supports: Mapping[str, Sequence[Shot]], shown: Sequence[str], others: Sequence[str], engine: Engine, way: Way
) -> Calibration:
    """Scores images that show the one class and images that don't; an unreadable one is named and left out.

    Raises:
        ConfigError: several classes. DataError: no images of either kind. Else as `Segmenter.prepare`.
    """
    if len(supports) != 1:
        raise ConfigError(f"{len(supports)} classes: a threshold is set for one at a time")
    images = find_images(shown), find_images(others)
    segmenter = engine.segmenter(way)
    ((name, shots),) = supports.items()
    prepared = segmenter.prepare({name: [Support(shot.path, **asdict(shot.known)) for shot in shots]})
    found: tuple[list[float], list[float]] = ([], [])
    every = [(side, path) for side, paths in enumerate(images) for path in paths]
    results = segmenter.segment_many([path for _, path in every], prepared, on_error="yield")
    jobs = zip(every, results, strict=True)
    for (side, _), result in tracked(jobs, len(every), "scoring"):
        if isinstance(result, FewShotError):
            complain(str(result))
        else:
            found[side].append(result.objects[0].score)
    return calibrate(*found)

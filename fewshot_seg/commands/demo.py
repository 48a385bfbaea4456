"""`fewshot-seg demo`: photographs from installed packages, segmented, and a sheet that shows every step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fewshot_seg.commands.console import tracked
from fewshot_seg.commands.engine import Engine
from fewshot_seg.commands.outputs import is_our_mask, refuse_foreign
from fewshot_seg.commands.result_files import mask_name, overlay_name, read_results
from fewshot_seg.commands.results import save_result
from fewshot_seg.commands.scenes import Picture, Scene, scenes
from fewshot_seg.imaging.export import make_folder, write_image, write_json
from fewshot_seg.imaging.render import Tile, heat_map, overlay, seed_map, sheet
from fewshot_seg.segmentation.segmenter import Segmentation, Segmenter

SHEET_NAME = "index.png"
TITLE = "fewshot-seg: one example without a mask finds its like in another photograph"
TILE = 250


def run_demo(out: Path, engine: Engine) -> tuple[Path, list[dict[str, Any]]]:
    """Segment the demo's scenes; return the path of the sheet and the entries of all results.

    Writes OUT/index.png, the photographs to OUT/images (to try `fewshot-seg segment` on), and for each scene
    what `segment` writes, in a folder named after its query: OUT/NAME/NAME_mask.png,
    OUT/NAME/NAME_overlay.jpg, OUT/NAME/results.json.

    Raises:
        DataError: a photograph is not there. ConfigError: a file of another's is where one goes.
        ConfigError, CheckpointError: from `engine`.
        OutputError: a file cannot be written.
    """
    all_scenes = scenes()
    _protect(out, all_scenes)
    images = make_folder(make_folder(out) / "images")
    segmenter = engine.segmenter()
    rows: list[list[Tile | None]] = []
    entries = []
    for scene in tracked(all_scenes, len(all_scenes), "demo"):
        result = _segment(segmenter, scene)
        rows += _rows(scene, result)
        entries.append(_save(out, scene, result))  # first: it says whose the photographs are
        for picture in (scene.query, *scene.supports.values()):
            write_image(images / f"{picture.name}.png", picture.image)
    write_image(out / SHEET_NAME, sheet(rows, TITLE, tile=TILE))
    return out / SHEET_NAME, entries


def _protect(out: Path, all_scenes: Sequence[Scene]) -> None:
    """Check that what is going to be replaced is an earlier demo's."""
    pictures = {one.name for scene in all_scenes for one in (scene.query, *scene.supports.values())}
    outputs = [out / SHEET_NAME, *(out / "images" / f"{name}.png" for name in pictures)]
    ours = False
    for name in (scene.query.name for scene in all_scenes):
        folder = out / name
        ours = ours or is_our_mask(folder / mask_name(name)) or bool(read_results(folder).images)
        outputs += [folder / one for one in (mask_name(name), overlay_name(name), "results.json")]
    refuse_foreign(outputs, lambda _: ours)


def _segment(segmenter: Segmenter, scene: Scene) -> Segmentation:
    supports = {name: picture.image for name, picture in scene.supports.items()}
    return segmenter.segment(scene.query.image, supports)


def _save(out: Path, scene: Scene, result: Segmentation) -> dict[str, Any]:
    name = scene.query.name
    folder = make_folder(out / name)
    entry = save_result(folder, name, f"{out / 'images' / name}.png", scene.query.image, result)
    write_json(folder / "results.json", {"classes": list(result.classes), "images": [entry]})
    return entry


def _rows(scene: Scene, result: Segmentation) -> list[list[Tile | None]]:
    """One row per class: its support, its map on its own scale, and seeds; query and result in the first one."""
    image = scene.query.image
    rows: list[list[Tile | None]] = []
    for (name, support), found in zip(scene.supports.items(), result.objects, strict=True):
        first = not rows
        rows.append(
            [
                _tile(support, f"example: {name}"),
                _tile(scene.query, "query", scene.title) if first else None,
                Tile(heat_map(image, found.attention_map / max(found.attention_map.max(), 1e-6)), f"where: {name}"),
                Tile(seed_map(image, found.trimap), f"seeds: {name}"),
                Tile(overlay(image, result.label_map, result.classes), _verdict(result)) if first else None,
            ]
        )
    return rows


def _tile(picture: Picture, *lines: str) -> Tile:
    return Tile(picture.image, "\n".join([*lines, picture.note]).strip())


def _verdict(result: Segmentation) -> str:
    lines = []
    for label, found in enumerate(result.objects, start=1):
        share = (result.label_map == label).mean()
        lines.append(f"{found.name}: {100 * share:.0f} % of it, score {found.score:.2f}")
    return "result\n" + "\n".join(lines)

"""SAM as refiner, smallest and with random weights: sizes, prompts, which of its masks is kept, and bad folders."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fewshot_seg.cutting.refiners import RefinerSetting, Scene, build_refiner
from fewshot_seg.cutting.sam import SamRefiner, best_candidate, prompt_of
from fewshot_seg.cutting.seeds import BACKGROUND, FOREGROUND
from fewshot_seg.errors import CheckpointError, ConfigError
from fewshot_seg.imaging.images import resize_map
from fewshot_seg.segmentation.options import SegmenterOptions
from fewshot_seg.segmentation.segmenter import Segmenter
from tests.eval.tiny import tiny_embedder

SIDE = 64


def sam_config() -> Any:
    from transformers import SamConfig

    return SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 8,
            "window_size": 4,
            "global_attn_indexes": [0],
            "mlp_dim": 16,
            "num_pos_feats": 8,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": SIDE, "patch_size": 8, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        | {"iou_head_depth": 2, "iou_head_hidden_dim": 16},
    )


def sam2_config() -> Any:
    from transformers import Sam2Config

    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 2],
        "global_attention_blocks": [3],
    }
    return Sam2Config(
        vision_config={
            "backbone_config": backbone,
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[SIDE // 4] * 2, [SIDE // 8] * 2, [SIDE // 16] * 2],
            "fpn_hidden_size": 32,
        },
        prompt_encoder_config={"hidden_size": 32, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        | {"iou_head_depth": 2, "iou_head_hidden_dim": 16},
    )


@pytest.fixture(scope="module", params=["sam", "sam2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot folder as the hub has it."""
    import transformers

    torch.manual_seed(0)
    kind, config = {"sam": ("SamModel", sam_config), "sam2": ("Sam2Model", sam2_config)}[request.param]
    made: Path = tmp_path_factory.mktemp(request.param)
    getattr(transformers, kind)(config()).save_pretrained(made)
    return made


def scene(size: tuple[int, int], small: tuple[int, int] = (60, 80), constant: bool = False) -> Scene:
    """A noisy image, and a map that is sure of a part of its left half, most of all in the middle of that."""
    height, width = small
    map_ = np.full(small, 0.1, np.float32)
    map_[height // 4 : height // 2, width // 8 : width // 2] = 0.8
    if not constant:
        map_[height // 4 + 3, width // 8 + 5] = 0.95
    trimap = np.where(map_ > 0.5, FOREGROUND, np.where(map_ > 0.05, cv2.GC_PR_BGD, BACKGROUND)).astype(np.uint8)
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    return Scene(image, np.zeros((*small, 3), np.uint8), trimap, map_)


@pytest.mark.parametrize("size", [(120, 160), (97, 131), (211, 77), (33, 301)])
def test_any_size_gives_masks_of_that_size(folder: Path, size: tuple[int, int]) -> None:
    refiner = SamRefiner(RefinerSetting(str(folder)))
    one = scene(size, (30, 40))
    prompt = prompt_of(one)
    assert prompt is not None
    assert refiner.candidates(one.image, prompt).shape == (3, *size)
    assert refiner(one).shape in (size, (30, 40))
    assert refiner.preprocessed(one.image).shape == (1, 3, SIDE, SIDE)


def test_images_go_in_as_the_library_s_own_processor_has_them(folder: Path) -> None:
    from transformers import Sam2ImageProcessor, SamImageProcessor

    refiner = SamRefiner(RefinerSetting(str(folder)))
    image = scene((97, 131)).image
    square = {"height": SIDE, "width": SIDE}
    processor = (
        Sam2ImageProcessor(size=square)
        if refiner.stretches
        else SamImageProcessor(size={"longest_edge": SIDE}, pad_size=square)
    )
    theirs = processor(image, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(refiner.preprocessed(image), theirs, rtol=0, atol=0.03)  # they round to whole colours


def test_masks_come_out_as_the_library_has_them(folder: Path) -> None:
    from transformers import Sam2ImageProcessor, SamImageProcessor

    refiner = SamRefiner(RefinerSetting(str(folder)))
    one = scene((97, 131))
    prompt = prompt_of(one)
    assert prompt is not None
    logits: list[torch.Tensor] = []
    refiner.model.mask_decoder.register_forward_hook(lambda _, __, out: logits.append(out[0]))
    ours = refiner.candidates(one.image, prompt)
    if refiner.stretches:
        theirs = Sam2ImageProcessor().post_process_masks(logits[0], [one.image.shape[:2]])
    else:
        sizes = [one.image.shape[:2]], [refiner._inner(one.image.shape[:2])]
        square = {"height": SIDE, "width": SIDE}
        theirs = SamImageProcessor(pad_size=square).post_process_masks(logits[0], *sizes)
    assert (ours == theirs[0][0].numpy()).mean() > 0.97  # SAM 2's goes to native size in one step


def test_the_prompts_are_the_map_s_box_and_points_in_the_model_s_pixels(folder: Path) -> None:
    refiner = SamRefiner(RefinerSetting(str(folder)))
    seen: list[dict[str, Any]] = []
    refiner.model.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    refiner(scene((120, 160)))
    scale = np.array([SIDE / 160, SIDE / (120 if refiner.stretches else 160)])
    box = np.array([20, 30, 80, 60]) * np.tile(scale, 2)  # columns 10 to 40 of 80, rows 15 to 30 of 60, twice as large
    assert seen[0]["input_boxes"][0, 0].tolist() == pytest.approx(box.tolist())
    points = seen[0]["input_points"][0, 0].numpy()
    assert points[0].tolist() == pytest.approx(((np.array([15, 18]) + 0.5) * 2 * scale).tolist())
    assert seen[0]["input_labels"][0, 0].tolist() == [1, 1, 1]
    assert ((points >= box[:2]) & (points <= box[2:])).all()


def test_sure_background_in_the_box_is_pointed_at() -> None:
    one = scene((60, 80))
    one.trimap[20:24, 20:24] = BACKGROUND
    prompt = prompt_of(one)
    assert prompt is not None
    assert prompt.labels.tolist() == [1, 1, 1, 0]
    assert ((prompt.points[3] > 20) & (prompt.points[3] < 24)).all()
    one.trimap[:] = BACKGROUND
    assert prompt_of(one) is None


def test_of_equal_points_the_deepest_comes_first() -> None:
    prompt = prompt_of(scene((60, 80), constant=True))
    assert prompt is not None
    assert abs(prompt.points[0, 1] - 22.5) <= 1


def test_of_candidates_the_one_that_agrees_with_the_map_is_kept() -> None:
    one = scene((120, 160))
    likely = resize_map(one.map, (120, 160)) > 0.5
    whole, half = np.ones_like(likely), likely.copy()
    half[:45] = False
    for place in range(3):
        candidates = np.stack([whole, half])
        candidates = np.insert(candidates, place, likely, axis=0)
        assert best_candidate(candidates, one.map) is not None
        assert np.array_equal(best_candidate(candidates, one.map), likely)  # type: ignore[arg-type]
    assert best_candidate(np.zeros((3, 120, 160), bool), one.map) is None


def test_a_decoder_s_answer_reaches_the_mask(folder: Path) -> None:
    """With logits set by hand the refiner's mask is the agreeing one, at native size and in the right place."""
    refiner = SamRefiner(RefinerSetting(str(folder)))
    one = scene((120, 160))
    height, width = refiner._inner((120, 160))

    def by_hand(_: object, __: object, out: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        logits = torch.full((1, 1, 3, SIDE, SIDE), -9.0)
        logits[..., 0, :, :] = 9.0
        logits[..., 1, round(height * 30 / 120) : height // 2, round(width * 20 / 160) : width // 2] = 9.0
        return (logits, *out[1:])

    refiner.model.mask_decoder.register_forward_hook(by_hand)
    expected = np.zeros((120, 160), bool)
    expected[30:60, 20:80] = True
    assert (refiner(one) == expected).mean() > 0.99


def test_an_image_is_encoded_once_for_all_classes(folder: Path) -> None:
    refiner = SamRefiner(RefinerSetting(str(folder)))
    passes: list[int] = []
    refiner.model.vision_encoder.register_forward_hook(lambda *_: passes.append(1))
    one = scene((60, 80))
    first = refiner(one)
    assert np.array_equal(refiner(one), first)
    assert len(passes) == 1
    refiner(scene((60, 80)))
    assert len(passes) == 2


def test_the_segmenter_refines_by_it(folder: Path, rng: np.random.Generator) -> None:
    options = SegmenterOptions(refine="sam", refine_weights=str(folder / "model.safetensors"), keep=0.0, always=True)
    image: NDArray[np.uint8] = rng.integers(0, 255, (90, 121, 3), dtype=np.uint8)
    assert Segmenter(tiny_embedder(), options).segment(image, image).mask.shape == (90, 121)


def drop(folder: Path, name: str = "model.safetensors") -> None:
    (folder / name).unlink()


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def lack(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in state.items() if "mask_decoder" not in k}, folder / "model.safetensors", {"format": "pt"}
    )


def unpickled(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    drop(folder)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda at: drop(at, "config.json"), "holds no config.json of a SAM or SAM 2"),
    "another model": (lambda at: (at / "config.json").write_text('{"model_type": "vit"}'), "holds no config.json of"),
    "no weights": (drop, "the weights cannot be loaded"),
    "a pickle": (unpickled, "the weights cannot be loaded"),
    "truncated": (truncate, "the weights cannot be loaded"),
    "a part": (lack, "the weights lack mask_decoder.*, one of"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_folder_is_one_line(folder: Path, tmp_path: Path, what: str) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    BAD[what][0](tmp_path)
    with pytest.raises(CheckpointError, match=BAD[what][1]) as caught:
        build_refiner("sam", RefinerSetting(str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_without_weights_or_the_extra_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="--sam-weights FOLDER, such as a copy of facebook/sam-vit-base"):
        build_refiner("sam", RefinerSetting())
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'fewshot-seg\[sam\]'"):
        build_refiner("sam", RefinerSetting("here"))

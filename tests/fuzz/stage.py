"""A small folder with one file of each kind that a command reads, made by the commands themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from typer.testing import CliRunner

from eval.episodes.segmentation import run_segmentation
from eval.retrieval.run import run_retrieval
from fewshot_seg.cli import app
from tests.eval.retrieval.files import make_folders, tiny_retrieval
from tests.eval.tiny import tiny_task
from tests.fewshot_seg.imaging.mask_files import make_class_folders, make_images_and_masks, write_coco
from tests.train_embed.tiny import settings, tiny
from train_embed.config.load import load_config, to_yaml
from train_embed.run.trainer import train


def fewshot(*words: object) -> None:
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, (words, done.output, done.exception)


def build(root: Path) -> None:
    """Fill an empty folder, which is the working directory: paths in the files are relative as far as they can be."""
    draws = np.random.default_rng(0)
    Path("images").mkdir()
    for number, ending in enumerate(("jpg", "png", "webp", "tif", "gif", "bmp")):
        pixels = draws.integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(f"images/{number}.{ending}")
    mask = np.zeros((24, 32), np.uint8)
    mask[5:18, 6:20] = 255
    Image.fromarray(mask).save("mask.png")
    Path("table.csv").write_text("path,id,camera\nimages/0.jpg,1,c1\nimages/1.png,2,c2\n")
    task = tiny_task(root, episodes=4, workers=1, methods=("centre-box",), root=Path("voc"), out=Path("run"),
                     split_list=Path("voc/list.txt"), weights="tiny.safetensors")  # fmt: skip
    run_segmentation(task)
    run_segmentation(replace(task, methods=("all-foreground",), out=Path("run2")))
    make_folders(Path("photos"), classes=4, each=3)
    found = tiny_retrieval(root, {"root": Path("photos"), "classes": "1-2"}, out=Path("found"),
                           weights=("tiny.safetensors",), workers=1, nmi=False)  # fmt: skip
    run_retrieval(found)
    fewshot("index", "build", "index", "-w", "tiny.safetensors", "--csv", "table.csv")
    fewshot("segment", "images/1.png", "-s", "it=images/0.jpg", "--support-mask", "it=mask.png", "-w",
            "tiny.safetensors", "--out", "results")  # fmt: skip
    train(tiny(Path("photos"), data={"train_classes": 3}, sampler={"p": 2, "k": 2, "batches": 1},
               run={"epochs": 1}, mining={"enabled": False}), Path("trained"))  # fmt: skip
    Path("config.yaml").write_text(to_yaml(load_config(settings(Path("nowhere")))))
    write_coco(Path("coco"), ("cat", "dog"), {"a": ("cat",), "b": ("dog", "cat")})
    make_images_and_masks(Path("labelled"), ["cat", "dog"], {"a": (1,), "b": (1, 2)})
    make_class_folders(Path("folders"), {"cat": 2, "dog": 2})
    Path("episodes.txt").write_text("a_0 | aeroplane a_1\n")
    torch.save({"state_dict": {"a.weight": torch.zeros(3, 2)}, "epoch": 3}, "old.pth")
    Path("points.json").write_text(json.dumps({"points": [[1, 2]]}))

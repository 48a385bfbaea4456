"""A child that was forked from a process that has used torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

CHILD = """
import os, signal, sys
import torch
import fewshot_seg as fs

torch.set_num_threads(2)
embedder = fs.load_embedder("lite0", device="cpu")
segmenter = fs.Segmenter(embedder, fs.SegmenterOptions(locate_by="correspondence"))
index = fs.Index.build([sys.argv[1]], embedder)
first = segmenter.segment(sys.argv[1], sys.argv[1]).label_map
if (child := os.fork()) == 0:
    signal.alarm(60)  # ends a child that waits for ever
    embedder.embed([sys.argv[1]])
    prepared = segmenter.prepare(sys.argv[1])
    same = (segmenter.segment(sys.argv[1], prepared).label_map == first).mean() > 0.999
    os._exit(0 if same and index.search(sys.argv[1], k=1) else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_works_as_its_parent_did(tmp_path: Path) -> None:
    Image.fromarray(skimage.data.chelsea()).save(path := tmp_path / "cat.png")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr

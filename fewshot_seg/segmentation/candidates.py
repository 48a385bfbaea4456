"""Candidates: masks of the things that a bare example may mean, so that a person can choose one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from fewshot_seg.errors import describe
from fewshot_seg.imaging.images import ImageInput, read_image
from fewshot_seg.matching.candidates import candidate_maps
from fewshot_seg.matching.features import FeatureExtractor
from fewshot_seg.matching.locators import Located
from fewshot_seg.prompts.supports import Support
from fewshot_seg.segmentation.cutter import Cutter, Target
from fewshot_seg.segmentation.prepared import encode_examples


@torch.inference_mode()
def cut_candidates(extractor: FeatureExtractor, cutter: Cutter, example: ImageInput) -> list[NDArray[np.bool_]]:
    """As `Segmenter.candidates`."""
    image = read_image(example)
    ((features, _, _),) = encode_examples(extractor, [Support(image)], 1, cutter.options.threads)
    masks = []
    for map_ in candidate_maps(features):
        located = Located(map_[None], np.ones(1, np.float32), probabilistic=True)
        masks.append(cutter.cut(Target(describe(example), image, located, (None,)), ("",)).mask)
    return [mask for mask in masks if mask.any()]

"""Cut-outs: each thing as an RGBA PNG, transparent around it."""

from __future__ import annotations

import io
import re

import numpy as np

from fewshot_seg.formats.annotations import AnnotatedImage, Export
from fewshot_seg.formats.pictures import pixels_of


class CutoutExport(Export):
    """STEM_CLASS_N.png, cut to the thing's box; alpha is the mask, 0 or 255, so that holes are transparent, too."""

    title = "Cut-outs (PNG)"
    writes_pixels = True

    def _add(self, image: AnnotatedImage) -> None:
        from PIL import Image

        pixels = pixels_of(image)
        for number, one in enumerate(image.annotations, start=1):
            left, top, width, height = one.box
            part = slice(top, top + height), slice(left, left + width)
            alpha = np.where(one.part, 255, 0).astype(np.uint8)
            stream = io.BytesIO()
            Image.fromarray(np.dstack([pixels[part], alpha])).save(stream, "PNG")
            label = re.sub(r"[^\w-]+", "-", one.label)[:40]
            self.write(f"{image.stem}_{label}_{number}.png", stream.getvalue())

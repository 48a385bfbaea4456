"""Ultralytics' YOLO labels for segmentation: a folder that `yolo segment train data=.../data.yaml` takes."""

from __future__ import annotations

from fewshot_seg.formats.annotations import AnnotatedImage, Export
from fewshot_seg.formats.pictures import picture_of
from fewshot_seg.formats.polygons import one_ring, polygons_of


class YoloExport(Export):
    """images/STEM.jpg or .png, upright; labels/STEM.txt, a line a thing; data.yaml, whose train and val are the same.

    A thing is one ring, in shares of width and height: parts and holes are joined by lines of no width, as in
    Ultralytics' own conversion from COCO. An image with nothing in it has an empty label file.
    """

    title = "YOLO segmentation"
    writes_pixels = True

    def _add(self, image: AnnotatedImage) -> None:
        height, width = image.size
        lines = []
        for one in image.annotations:
            shares = one_ring(polygons_of(one.mask, self.tolerance)) / (width, height)
            lines.append(" ".join([str(self.classes[one.label]), *(f"{share:.6f}" for share in shares.ravel())]))
        suffix, content = picture_of(image)
        self.write(f"images/{image.stem}{suffix}", content)
        self.write(f"labels/{image.stem}.txt", "".join(f"{line}\n" for line in lines).encode())

    def _finish(self) -> None:
        import yaml

        names = {number: name for name, number in self.classes.items()}
        content = {"train": "images", "val": "images", "names": names}
        self.write("data.yaml", yaml.safe_dump(content, allow_unicode=True, sort_keys=False).encode("utf-8", "replace"))

"""The protocols that published figures follow."""

from __future__ import annotations

from collections.abc import Iterable

from fewshot_seg.datasets import Entry, SegmentationDataset
from fewshot_seg.episodes.episode import Episode
from fewshot_seg.episodes.protocols.base import CLASS_STREAM, QUERY_STREAM, EpisodeProtocol, draw


class Hsnet(EpisodeProtocol):
    """HSNet's (Min, Kang, Cho, ICCV 2021): 1,000 episodes; query n is entry n mod len.

    As in its code, COCO-20i's queries are drawn instead, the class first, and folders of classes (FSS-1000) have
    as many episodes as images.
    """

    name = "hsnet"

    def __len__(self) -> int:
        return len(self._entries) if self.dataset.name == "folder" else 1000

    def episode(self, index: int) -> Episode:
        """Episode `index`; see `EpisodeProtocol.episode`."""
        entry = self._query(index)
        return self._with_drawn_supports(index, entry.image, self._draw_others(entry, index))

    def _query(self, index: int) -> Entry:
        if self.dataset.name != "coco20i":
            return self._entries[index % len(self._entries)]
        (label,) = draw(self.classes, 1, self.seed, index, stream=QUERY_STREAM)
        (image,) = draw(self._pools[label], 1, self.seed, index, stream=QUERY_STREAM + label)
        return Entry(image, label)


class Pfenet(EpisodeProtocol):
    """PFENet's (Tian et al., TPAMI 2020): 5,000 episodes (COCO-20i: 20,000), seed 321; query n is image n mod len.

    An image of several classes is one query, and its class is drawn. The original draws among all the fold's classes
    in the mask, here among those listed for the image (and it tests one episode more than it says, 5,001).
    """

    name = "pfenet"
    default_seed = 321

    def __len__(self) -> int:
        return 20_000 if self.dataset.name == "coco20i" else 5000

    def __init__(
        self, dataset: SegmentationDataset, classes: Iterable[int], shot: int, way: int = 1, seed: int | None = None
    ) -> None:
        super().__init__(dataset, classes, shot, way, seed)
        by_image: dict[str, list[int]] = {}
        for entry in self._entries:
            by_image.setdefault(entry.image, []).append(entry.label)
        self._queries = list(by_image.items())

    def episode(self, index: int) -> Episode:
        """Episode `index`; see `EpisodeProtocol.episode`."""
        image, labels = self._queries[index % len(self._queries)]
        (label,) = draw(labels, 1, self.seed, index, stream=QUERY_STREAM)
        return self._with_drawn_supports(index, image, self._draw_others(Entry(image, label), index))


class Panet(EpisodeProtocol):
    """PANet's (Wang et al., ICCV 2019): 5 runs of 1,000 episodes, seed 1234, scored at 417 x 417.

    N of the fold's classes are drawn, then one of them for the query, then the query and the supports from the class's
    images: in N-way episodes the query need not hold the others. (The original takes the images from VOC's augmented
    training part; here they are from the list. Its runs have seeds 1234 to 1238; here they are parts of one series.)
    """

    name = "panet"
    default_seed = 1234
    runs = 5
    scoring_size = (417, 417)

    def __len__(self) -> int:
        return 5000

    def episode(self, index: int) -> Episode:
        """Episode `index`; see `EpisodeProtocol.episode`."""
        classes = draw(self.classes, self.way, self.seed, index, stream=CLASS_STREAM)
        (query,) = draw(self._pools[classes[0]], 1, self.seed, index, stream=QUERY_STREAM)
        return self._with_drawn_supports(index, query, tuple(sorted(classes)))

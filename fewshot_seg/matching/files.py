"""Matchers in files, those that come with the package, and which of them fits an embedder.

A file is safetensors, float16, with a JSON object under the metadata key "fewshot_seg_matcher": "format",
"version" (of the project that wrote it), "matcher" (a `MatcherSpec`), "backbone_sha256" (`backbone_digest` of the
network that it was trained over) and "training" (how: options, data, held-out classes, terms; any JSON values).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import Tensor

from fewshot_seg.errors import CheckpointError, ConfigError
from fewshot_seg.matching.matcher import Matcher, MatcherSpec
from fewshot_seg.network.checkpoints import SUFFIX, parsed_header, write_tensors
from fewshot_seg.network.embedder import Embedder
from fewshot_seg.network.folding import state_of
from fewshot_seg.network.weights import digest_of, load_strict, read_tensors

AUTO: Final = "auto"
NONE: Final = "none"
KEY: Final = "fewshot_seg_matcher"

_log = logging.getLogger(__name__)
_FOLDER: Final = Path(__file__).parents[1] / "matchers"
_digests: WeakKeyDictionary[Embedder, tuple[object, str]] = WeakKeyDictionary()
_matchers: WeakValueDictionary[object, Matcher] = WeakValueDictionary()  # those in use


@dataclass(frozen=True)
class MatcherHeader:
    """What a matcher's file says of it.

    Attributes:
        spec: how to build it.
        backbone_sha256: of the network that it was trained over, see `backbone_digest`.
        training: how it was trained; JSON values.
        version: of the project that wrote the file; filled in by `save_matcher`.
    """

    spec: MatcherSpec
    backbone_sha256: str
    training: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""


def save_matcher(path: str | os.PathLike[str], matcher: Matcher, header: MatcherHeader) -> None:
    """Writes a matcher as float16 to `path`, whole or not at all.

    Raises:
        ConfigError: values that float16 can't hold. ConfigError, OutputError: as `checkpoints.write_tensors`.
    """
    values = {
        "matcher": header.spec.to_dict(),
        "backbone_sha256": header.backbone_sha256,
        "training": dict(header.training),
    }
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in matcher.state_dict().items()}
    large = [name for name, value in tensors.items() if not bool(value.isfinite().all())]
    if large:
        raise ConfigError(f"the matcher holds values that are too large for float16: {', '.join(large)}")
    write_tensors(path, tensors, KEY, values, "matcher")


def read_matcher_header(path: str | os.PathLike[str]) -> MatcherHeader:
    """The header of a matcher's file; no weights are read.

    Raises:
        CheckpointError: missing, damaged, no matcher, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no such matcher: {path}")
    return parsed_header(path, KEY, "is no matcher: it was not written by `train-embed matcher`", _parse)


def _parse(values: Mapping[str, Any]) -> MatcherHeader:
    spec = MatcherSpec.from_dict(values["matcher"])
    return MatcherHeader(spec, str(values["backbone_sha256"]), dict(values["training"]), str(values["version"]))


def load_matcher(path: str | os.PathLike[str]) -> Matcher:
    """A matcher from its file, float32, in eval mode and frozen, on the CPU.

    Raises:
        CheckpointError: as `read_matcher_header`, or tensors that don't fit.
    """
    path = Path(path)
    matcher = Matcher(read_matcher_header(path).spec)
    load_strict(matcher, {name: value.float() for name, value in read_tensors(path).items()}, str(path))
    return matcher.requires_grad_(False).eval()


def packaged(name: str) -> Path | None:
    """The file of a matcher that comes with the package; None if there is none of this name."""
    return _FOLDER / f"{name}{SUFFIX}" if name in packaged_names() else None


def packaged_names() -> tuple[str, ...]:
    """The matchers that come with the package, sorted: "default" and "fold0" to "fold3"."""
    return tuple(sorted(path.stem for path in _FOLDER.glob(f"*{SUFFIX}")))


def matcher_for(embedder: Embedder, choice: str | os.PathLike[str] = AUTO) -> Matcher | None:
    """The matcher to use with an embedder, on its device and in its type.

    Args:
        embedder: whose layers the matcher is to read.
        choice: "auto": the package's own if it was trained over these very weights, else None; "none": None;
            a name of `packaged_names`, or the path of a file. A name wins over a file called the same.

    Raises:
        CheckpointError: no such matcher, a damaged one, or one for another backbone.
        ConfigError: the matcher was trained over a classifier, and the embedder keeps none.
    """
    choice = os.fspath(choice)
    if choice == NONE:
        return None
    if choice == AUTO:
        path = packaged("default")
        if path is None or embedder.classifier is None:
            return None
        header = read_matcher_header(path)
        if header.spec.backbone != embedder.spec.backbone or header.backbone_sha256 != backbone_digest(embedder):
            return None
    else:
        path = packaged(choice) or Path(choice)
        if re.fullmatch(r"\w+", choice) and not path.is_file():
            names = ", ".join((AUTO, NONE, *packaged_names()))
            raise CheckpointError(f"no matcher {choice!r}: choose {names}, or the path of a {SUFFIX} file")
        _check_fits(path, read_matcher_header(path), embedder)
    return _shared(path, embedder)


def _shared(path: Path, embedder: Embedder) -> Matcher:
    """The matcher of a file on an embedder's device, one for all who use it: what it encodes can then be shared."""
    status = path.stat()
    key = (path.resolve(), status.st_size, status.st_mtime_ns, str(embedder.device), str(embedder.dtype))
    known = _matchers.get(key)
    if known is None:
        known = _matchers[key] = load_matcher(path).to(embedder.device, embedder.dtype)
    return known


def class_weights(embedder: Embedder, matcher: Matcher) -> Tensor:
    """(L,C) for class evidence: the backbone's own last layer; where it keeps none, each channel is a class."""
    if embedder.classifier is not None:
        return embedder.classifier.weight
    return torch.eye(matcher.spec.channels, device=embedder.device, dtype=embedder.dtype)


def backbone_digest(embedder: Embedder) -> str:
    """SHA-256 of the trunk's and the classifier's weights; remembered until one of them changes.

    Whatever stands between them, a pooling or a neck, makes no difference to a matcher.
    """
    tensors = {
        f"{prefix}.{name}": value
        for prefix, module in (("trunk", embedder.trunk), ("classifier", embedder.classifier))
        if module is not None
        for name, value in module.state_dict().items()
    }
    state = [state_of(value) for value in tensors.values()]
    known = _digests.get(embedder)
    if known is None or known[0] != state:
        known = _digests[embedder] = state, digest_of(tensors)
    return known[1]


def _check_fits(path: Path, header: MatcherHeader, embedder: Embedder) -> None:
    if header.spec.backbone != embedder.spec.backbone:
        raise CheckpointError(f"{path} is a matcher for {header.spec.backbone}, not for {embedder.spec.backbone}")
    if embedder.classifier is None and header.training.get("classifier", True):
        raise ConfigError(f"{path} needs the backbone's own classifier, which these weights don't keep")
    if header.backbone_sha256 != backbone_digest(embedder):
        _log.warning("%s was trained over other weights of %s", path, header.spec.backbone)

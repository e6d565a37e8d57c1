"""The whitening that a checkpoint of dirtorch or cirtorch carries, as a file of its own."""

import dataclasses
import logging

from ..artifacts import PathLike, is_made, require_file, sha256_of
from ..errors import UserError, printable
from ..model.foreign_head import read_head
from ..records import Provenance
from .whitening import Whitening, load_whitening, save_whitening

logger = logging.getLogger(__name__)


def convert_whitening(
    checkpoint_path: PathLike,
    output: PathLike,
    name: str = "",
    power: float = 0.5,
    dim: int = 0,
    overwrite: bool = False,
) -> None:
    """Write a whitening that a checkpoint carries to ``output`` (.npz); one of the same settings is kept.

    Args:
        checkpoint_path: dirtorch's, whose ``pca`` has scikit-learn's PCAs, or cirtorch's, with ``Lw`` in its ``meta``,
            or its file of ``m`` and ``P``.
        output: file to write.
        name: of the whitening there: its data, such as Landmarks_clean, and of cirtorch's /ss or /ms; '' = the only
            one.
        power: of the variances; of cirtorch's, which whiten already, it stays 0.
        dim: components kept; 0 = all.
        overwrite: another whitening at ``output`` may be replaced.

    Raises:
        UserError: no such file, no whitening in it, or several and ``name`` is none of them; fewer than ``dim``
            components; another whitening stands at ``output``.
    """
    path = require_file(checkpoint_path, "checkpoint_path")
    found = read_head(path).whitenings
    if not found:
        raise UserError(f"{path}: carries no whitening; fit one with the command learn_whitening")
    if len(found) > 1 and name not in found or name and name not in found:
        names = ", ".join(map(printable, sorted(found)))
        raise UserError(f"{path}: carries the whitenings {names or 'without a name'}; give `whitening` one of them")
    name = name or next(iter(found))
    arrays = found[name]
    settings = {"whitening": name, "dim": dim, **({} if "P" in arrays else {"whiten_power": power})}
    wanted = Provenance(settings=settings, sources={"checkpoint": sha256_of(path)})
    if is_made(output, wanted, lambda made: load_whitening(made, "output").provenance, overwrite):
        return
    try:
        if {"m", "P"} <= set(arrays):
            whitening = Whitening.from_projection(arrays["m"], arrays["P"])
        else:
            parts = (arrays[part] for part in ("mean", "components", "explained_variance"))
            whitening = Whitening.from_pca(*parts, power=power)
        whitening = dataclasses.replace(whitening.cut(dim), provenance=wanted)
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: its whitening {printable(name)} cannot be used ({error}); give another") from error
    save_whitening(output, whitening)
    logger.info("wrote %s: %s of %s, to %d numbers", output, name or "that", path.name, len(whitening.components))

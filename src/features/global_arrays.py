"""The global descriptors of a feature file as one NumPy array, for other programs."""

import dataclasses
import logging
from pathlib import Path

import numpy as np

from ..artifacts import PathLike, atomic_write_json, build_folder_for, is_made, sha256_of
from ..errors import UserError
from ..own_files import refuse_strangers
from .convert import PROVENANCE_FILE, provenance_of_folder
from .feature_file import FeatureFile

VECTORS_FILE, NAMES_FILE = "vectors.npy", "names.txt"

logger = logging.getLogger(__name__)


def features_to_npy(features: PathLike, folder: PathLike, overwrite: bool = False) -> None:
    """Write ``vectors.npy`` [N, D] float32 and ``names.txt``, a photo a line in the order of the rows.

    Args:
        features: feature file with global descriptors; photos without one are left out.
        folder: to make; it appears whole or not at all.
        overwrite: replace a folder made of others.

    Raises:
        UserError: no global descriptor, several lengths, a name with a line end, or something else at ``folder``.
    """
    with FeatureFile(features, "features") as source:
        sources = {"features": sha256_of(features), "format": "npy"}
        wanted = dataclasses.replace(source.provenance, sources=sources)
        if is_made(folder, wanted, provenance_of_folder, overwrite, folder=True):
            return
        names = [name for name in source.names if source.has_global(name)]
        if not names:
            raise UserError(f"{features}: no global descriptors in it; extract with `features` global or both")
        odd = next((name for name in names if not name.isprintable()), None)
        if odd is not None:
            raise UserError(f"{features}: {odd!r} holds what a list of lines cannot; rename the photo")
        vectors = source.global_descriptors(names)
        own = (VECTORS_FILE, NAMES_FILE, PROVENANCE_FILE)
        refuse_strangers(Path(folder), own.__contains__, "an export to npy")
        with build_folder_for(folder) as building:
            np.save(building / VECTORS_FILE, vectors)
            (building / NAMES_FILE).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
            atomic_write_json(building / PROVENANCE_FILE, wanted.as_json())
    logger.info("%s: %d vectors of %d numbers", folder, *vectors.shape)

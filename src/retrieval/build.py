"""Build an index folder from a feature file."""

import logging
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import faiss
import numpy as np
from tqdm import tqdm

from src.build_folder import build_folder_for
from src.errors import UserError
from src.evaluation.names import bare_name
from src.features.feature_file import FeatureFile
from src.files import PathLike, atomic_write_json, sha256_of
from src.retrieval import index as layout

FORMAT_VERSION = 1
_FLAT_LIMIT = 1_000_000  # descriptors; an exact search of 1000 through them takes about 5 s on two cores
_RAW_LIMIT = 50_000_000  # descriptors kept as floats; product quantisation above
_ADD_ROWS = 200_000  # descriptors handed to faiss at a time
_TRAINING_POINTS_PER_LIST = 64  # faiss wants 39 to 256
_LEAST_TRAINING_POINTS = 65_536  # 256 for each of the 256 centroids of a product quantiser

logger = logging.getLogger(__name__)


def build_index(
    features: PathLike, output: PathLike, index_type: str = "", seed: int = 0, overwrite: bool = False
) -> Path:
    """Index every descriptor of a feature file.

    The folder is made beside ``output`` and renamed when whole; an index of the same features and settings is kept.

    Args:
        features: feature file of the index photos.
        output: index folder.
        index_type: faiss factory string; '' = chosen by ``choose_index_type``.
        seed: of the training sample of an index that needs one.
        overwrite: replace an index of other features or settings.

    Returns:
        ``output``.

    Raises:
        UserError: unusable features or ``index_type``, or another index stands at ``output``.
    """
    features, output = Path(features), Path(output)
    with FeatureFile(features, "--features") as source:
        names = _order_photos(source.names, features)
        counts, dimension = _measure(source, names, features)
        provenance = {
            "format_version": FORMAT_VERSION,
            "features": source.attributes,
            "features_sha256": sha256_of(features),
            "index_type": index_type or choose_index_type(int(counts.sum()), dimension),
            "seed": seed,
            "num_images": len(names),
            "num_descriptors": int(counts.sum()),
            "dimension": dimension,
        }
        if _is_made(output, provenance, overwrite):
            return output
        index = _train(source, names, counts, provenance)
        with build_folder_for(output) as folder:
            _add_photos(folder, index, source, names, counts)
            faiss.write_index(index, str(folder / layout.FAISS_FILE))
            atomic_write_json(folder / layout.NAMES_FILE, names)
            atomic_write_json(folder / layout.PROVENANCE_FILE, provenance)
    logger.info("%s: %d photos, %d descriptors, %s", output, len(names), counts.sum(), provenance["index_type"])
    return output


def choose_index_type(num_descriptors: int, dimension: int) -> str:
    """Factory string by size: exact below a million descriptors, then inverted lists, then lists of short codes."""
    if num_descriptors < _FLAT_LIMIT:
        return "Flat"
    lists = 2 ** round(np.log2(4 * np.sqrt(num_descriptors)))
    if num_descriptors < _RAW_LIMIT:
        return f"IVF{lists},Flat"
    subvectors = max(m for m in range(1, dimension // 2 + 2) if dimension % m == 0)
    return f"IVF{lists},PQ{subvectors}"


def _order_photos(names: Sequence[str], path: Path) -> List[str]:
    """The photos in the order of their names without extension, so that numbers order as names do."""
    photos: Dict[str, str] = {}
    for name in names:
        other = photos.setdefault(bare_name(name), name)
        if other != name:
            raise UserError(f"{path}: {other} and {name} differ only by extension; rename one and extract again")
    if not photos:
        raise UserError(f"{path}: holds no photos; run eval/extract_features.py on a folder of photos")
    return [photos[short] for short in sorted(photos)]


def _measure(source: FeatureFile, names: Sequence[str], path: Path) -> Tuple[np.ndarray, int]:
    """Number of features of each photo [N], and the dimension of their descriptors."""
    shapes = np.array([source.shape(name) for name in names], np.int64)
    dimensions = np.unique(shapes[shapes[:, 0] > 0, 1])
    if len(dimensions) > 1:
        raise UserError(f"{path}: descriptors of {dimensions.tolist()} dimensions in one file; extract again")
    return shapes[:, 0], int(dimensions[0]) if len(dimensions) else max(1, int(shapes[:, 1].max()))


def _is_made(output: Path, provenance: Dict[str, Any], overwrite: bool) -> bool:
    """Whether the wanted index stands at ``output``; UserError when something else does and may not be replaced."""
    if not output.exists():
        return False
    if not (output / layout.PROVENANCE_FILE).exists() and (output.is_file() or any(output.iterdir())):
        # Before overwrite is looked at: replacing a folder deletes it, and this one may be the user's photos.
        raise UserError(f"{output}: stands there and is no index; give another --output")
    if overwrite or not any(output.iterdir()):
        return False
    if layout.read_provenance(output) != provenance:
        raise UserError(f"{output}: an index of other features or settings; give --overwrite to replace it")
    logger.info("%s: already made", output)
    return True


def _train(source: FeatureFile, names: Sequence[str], counts: np.ndarray, provenance: Dict[str, Any]) -> faiss.Index:
    """An empty faiss index, trained if its type needs it on the descriptors of photos drawn at random."""
    factory = provenance["index_type"]
    try:
        index = faiss.index_factory(provenance["dimension"], factory)
        lists = faiss.try_extract_index_ivf(index)
        if lists is not None:
            lists.nprobe = min(lists.nlist, max(16, lists.nlist // 32))  # faiss's own 1 loses most neighbours
        if not index.is_trained:
            wanted = max(_LEAST_TRAINING_POINTS, _TRAINING_POINTS_PER_LIST * (lists.nlist if lists is not None else 0))
            order = np.random.default_rng(provenance["seed"]).permutation(len(names))
            order = order[: np.searchsorted(np.cumsum(counts[order]), wanted) + 1]
            index.train(np.concatenate([source.read(names[number]).descriptors for number in order]))
    except RuntimeError as error:
        reason = str(error).split(": ", 1)[-1]
        raise UserError(f"index_type {factory}: faiss cannot make it of these descriptors ({reason})") from error
    return index


def _add_photos(
    folder: Path, index: faiss.Index, source: FeatureFile, names: Sequence[str], counts: np.ndarray
) -> None:
    """Add every photo's descriptors to ``index``, their photo numbers and keypoints to arrays in ``folder``."""
    np.save(folder / layout.IMAGE_IDS_FILE, np.repeat(np.arange(len(names), dtype=np.int32), counts))
    keypoints = np.lib.format.open_memmap(
        folder / layout.KEYPOINTS_FILE, mode="w+", dtype=np.float32, shape=(int(counts.sum()), 2)
    )
    waiting: List[np.ndarray] = []
    end = 0
    for name, count in zip(tqdm(names, desc="index", unit="photo"), counts):
        if count:
            features = source.read(name)
            keypoints[end : end + count] = features.keypoints
            waiting.append(features.descriptors)
            end += count
        if waiting and (end - index.ntotal >= _ADD_ROWS or end == len(keypoints)):
            index.add(np.concatenate(waiting))
            waiting.clear()
    keypoints.flush()

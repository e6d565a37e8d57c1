"""What every index folder has, whatever is searched in it: a faiss index, names, sources, and a sealing manifest."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Protocol, Sequence, Tuple

import faiss
import numpy as np

from ..artifacts import PathLike, atomic_write_json, require_folder, sha256_of
from ..errors import UserError, reading
from ..records import Provenance
from ..sealed import read_sealed, write_sealed
from .feature_sources import FeatureSources

FORMAT_VERSION = 4
FAISS_FILE, NAMES_FILE, SOURCES_FILE, MANIFEST_FILE = "index.faiss", "image_names.json", "sources.json", "index.json"
STARTS_FILE, KEYPOINTS_FILE = "starts.npy", "keypoints.npy"  # of local features
VECTORS_FILE = "vectors.npy"  # of global descriptors, where the faiss index shortens them
CODEBOOK_FILE, WORD_COUNTS_FILE = "codebook.npz", "word_counts.npy"  # of VLAD and ASMK; of ASMK
REGION_STARTS_FILE = "region_starts.npy"  # of ASMK, where regions are searched by themselves
GRAPH_FILE = "graph.npz"  # pairs of photos that retrieval has found, where it has
POSTING_FILES = ("word_starts.npy", "posting_photos.npy", "posting_codes.npy")  # of ASMK
_COMMON = (FAISS_FILE, NAMES_FILE, SOURCES_FILE)
_OF_ASMK = (CODEBOOK_FILE, WORD_COUNTS_FILE, *POSTING_FILES)
_OF_SEARCHER = {  # which files it has beside the common ones, always
    "votes": (STARTS_FILE, KEYPOINTS_FILE), "global": (), "vlad": (CODEBOOK_FILE,), "asmk": _OF_ASMK,
    "asmk_star": _OF_ASMK,
}  # fmt: skip
_IN_MEMORY = (  # while searching
    FAISS_FILE, STARTS_FILE, CODEBOOK_FILE, WORD_COUNTS_FILE, POSTING_FILES[0], REGION_STARTS_FILE,
)  # fmt: skip
_UNITS = {  # what is counted in an index of some searchers: one, several
    "vlad": ("vector", "vectors"), "asmk": ("word of a photo", "words of photos"),
    "asmk_star": ("word of a photo", "words of photos"),
}  # fmt: skip
OWN_FILES = (
    *_COMMON, MANIFEST_FILE, STARTS_FILE, KEYPOINTS_FILE, VECTORS_FILE, *_OF_ASMK, REGION_STARTS_FILE,
    GRAPH_FILE,
    "image_ids.npy",  # of an older format
)  # fmt: skip
INDEX_FOLDER = "index"  # of a photo index
TRAINED_FOLDER = "trained"  # of an index of shards: an index without photos, from which every shard is made
SHARD_NAME = re.compile(r"shard_\d{3,9}")
AGAIN = "make it again with the command build_index and `overwrite`"

# Tables that faiss would make for inverted lists of short codes take 0.3 GB for 16384 lists and save no time.
_READ_FLAGS = getattr(faiss, "IO_FLAG_SKIP_PRECOMPUTE_TABLE", 0)


def is_own(name: str) -> bool:
    """Whether a file of an index folder belongs there; a killed run may leave half a file of pairs."""
    place, _, inner = name.rpartition("/")
    if place == TRAINED_FOLDER or SHARD_NAME.fullmatch(place):
        name = inner
    return name in OWN_FILES or name.startswith(f".{Path(GRAPH_FILE).stem}.")


def tie_order(names: Sequence[str], seed: int) -> np.ndarray:
    """[N] int64, place of each photo among those of equal scores: the one rule of ties, for every query.

    Names often hold the landmark, so an order by name would rank photos of one landmark together, and a search that
    found nothing would score above chance. A photo's place follows from a checksum of the seed and its name (without
    extension): two photos stand in the same order however the photos are numbered, divided into shards or added.
    """

    def key(number: int) -> Tuple[bytes, str]:
        name = names[number]
        text = f"{seed}:{name}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=8).digest(), name

    order = np.empty(len(names), np.int64)
    order[sorted(range(len(names)), key=key)] = np.arange(len(names))
    return order


class Manifest(NamedTuple):
    """What an index folder says of itself.

    Attributes:
        provenance: how it was made.
        num_images, num_descriptors, dimension: its counts.
        sha256: of its other files; of a shard and of what is trained the manifest, which holds those of its files.
        shards: of an index of shards each one's folder, where its photos begin, and how many photos and descriptors it
            has, in the order of the photos' numbers.
        shard_photos: photos of such a shard, at most.
    """

    provenance: Provenance
    num_images: int
    num_descriptors: int
    dimension: int
    sha256: Dict[str, str]
    shards: Sequence[Dict[str, Any]] = ()
    shard_photos: int = 0

    @property
    def shard_names(self) -> List[str]:
        """Folders of the shards; none of an index of one piece."""
        return [shard["name"] for shard in self.shards]


class Saved(Protocol):
    """What an index of any kind has to be written."""

    faiss_index: faiss.Index
    image_names: List[str]
    provenance: Provenance
    sources: Any


def searcher_of(manifest: Manifest) -> str:
    """What is searched in an index: a choice of the key ``searcher`` other than auto."""
    return manifest.provenance.settings.get("searcher", "votes")


def read_manifest(folder: PathLike, fix: str = AGAIN) -> Manifest:
    """The manifest of an index folder; UserError when the folder is not a finished index."""
    path = require_folder(folder, "index") / MANIFEST_FILE
    inner = Path(folder) / INDEX_FOLDER
    if not path.is_file():
        if (inner / MANIFEST_FILE).is_file():
            raise UserError(f"{folder}: a photo index; give {inner}")
        raise UserError(f"{folder}: not an index folder: no {path.name} in it; make one with the command build_index")
    values = read_sealed(path, FORMAT_VERSION, fix)
    with reading(path, fix):
        manifest = Manifest(**{**values, "provenance": Provenance.from_json(values["provenance"])})
        if not all(SHARD_NAME.fullmatch(name) for name in manifest.shard_names):
            raise ValueError("a shard has the name of none")
        return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of an index folder, last of its files."""
    values = {**manifest._asdict(), "provenance": manifest.provenance.as_json()}
    if not manifest.shards:  # as an index of one piece always was
        del values["shards"], values["shard_photos"]
    write_sealed(folder / MANIFEST_FILE, FORMAT_VERSION, values)


def seal_folder(folder: Path, index: Saved, counts: Tuple[int, int, int], written: Sequence[str]) -> None:
    """Write the files that every index has, and last the manifest.

    Args:
        folder: of the index.
        index: what to write.
        counts: photos, descriptors, dimensions.
        written: names of the files that stand in the folder already.

    Raises:
        UserError: faiss cannot write indexes of this type. OSError: the disk is full.
    """
    try:
        with open(folder / FAISS_FILE, "wb") as stream:  # faiss's own files lose their end on a full disk, silently
            faiss.write_index(index.faiss_index, faiss.PyCallbackIOWriter(stream.write))
    except RuntimeError as error:
        raise UserError(f"{folder}: the index cannot be written ({' '.join(str(error).split())})") from error
    atomic_write_json(folder / NAMES_FILE, index.image_names)
    atomic_write_json(folder / SOURCES_FILE, index.sources.files if index.sources else [])
    sha256 = {name: sha256_of(folder / name) for name in (*_COMMON, *written)}
    write_manifest(folder, Manifest(index.provenance, *counts, sha256))


def make_rows(path: Path, first: np.ndarray, count: int) -> np.ndarray:
    """A new file of ``count`` rows float32, memory-mapped for writing, that begins with ``first`` [n, D]."""
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, first.shape[1]))
    with open(path, "r+b") as stream:  # else a full disk ends the process at a write to memory (SIGBUS)
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    rows[: len(first)] = first
    return rows


def save_rows(path: Path, rows: np.ndarray) -> None:
    """Write an array; one that is memory-mapped for writing stands in its file already."""
    if isinstance(rows, np.memmap) and rows.mode != "r":
        rows.flush()
    else:
        np.save(path, rows)


def require_whole(folder: PathLike, fix: str = AGAIN) -> Manifest:
    """The manifest of an index folder; UserError, with what to do, when it is none, or a byte of its files has changed.

    About a second for each GB. Of an index of shards the shards are not looked into; whoever opens one asks for it.
    """
    manifest, folder = read_manifest(folder, fix), Path(folder)
    always = (SOURCES_FILE,) if manifest.shards else (*_COMMON, *_OF_SEARCHER[searcher_of(manifest)])
    for name in dict.fromkeys((*always, *manifest.sha256)):
        if not (folder / name).is_file():
            raise UserError(f"{folder}: damaged index: no {name} in it; {fix}")
        if sha256_of(folder / name) != manifest.sha256.get(name):
            raise UserError(f"{folder / name}: damaged, or of another index (its checksum differs); {fix}")
    return manifest


def read_faiss(folder: Path, fix: str) -> faiss.Index:
    """The faiss index of a folder that is whole; UserError when this faiss cannot read it."""
    try:
        return faiss.read_index(str(folder / FAISS_FILE), _READ_FLAGS)
    except RuntimeError as error:
        fact = f"faiss {faiss.__version__} cannot read it ({' '.join(str(error).split())})"
        raise UserError(f"{folder / FAISS_FILE}: {fact}; {fix}") from error


def require_one_piece(folder: PathLike, manifest: Manifest) -> None:
    """UserError for an index of shards where one of one piece is needed."""
    if manifest.shards:
        raise UserError(f"{folder}: an index of {len(manifest.shards)} shards, where one of one piece is needed")


def read_names(folder: PathLike, manifest: Optional[Manifest] = None) -> List[str]:
    """File names of an index's photos, shard after shard where it has some.

    Args:
        folder: of the index.
        manifest: of an index that may have shards; None = read now.
    """
    folder = Path(folder)
    if not (folder / NAMES_FILE).is_file():
        shards = (manifest or read_manifest(folder)).shard_names
        return [name for shard in shards for name in read_names(folder / shard)]
    return json.loads((folder / NAMES_FILE).read_text(encoding="utf-8"))


def read_sources(folder: Path) -> FeatureSources:
    """The feature files an index was made from; UserError when the record of them is damaged."""
    path = folder / SOURCES_FILE
    with reading(path, AGAIN):
        return FeatureSources(folder, json.loads(path.read_text(encoding="utf-8")))


def describe_size(folder: PathLike) -> str:
    """Sizes of an index folder and its bytes a descriptor, as a sentence.

    In memory while searching: the faiss index with its ids, and where each photo's descriptors start. On disk only: the
    keypoints, of which verification reads a few, or the descriptors that the faiss index shortens. Of ASMK: the words
    in memory, on disk the codes of the photos' words, of which a query reads those of its own words.
    """
    folder, manifest = Path(folder), read_manifest(folder)
    searcher, settings = searcher_of(manifest), manifest.provenance.settings
    parts = [*manifest.shard_names, TRAINED_FOLDER] if manifest.shards else [""]
    files = [  # name, bytes
        (name, (folder / part / name).stat().st_size)
        for part in parts
        for name in read_manifest(folder / part).sha256
        if name != SOURCES_FILE
    ]
    memory = sum(size for name, size in files if name in _IN_MEMORY)
    disk, count = sum(size for _, size in files), manifest.num_descriptors
    unit, units = _UNITS.get(searcher, ("descriptor", "descriptors"))
    kind = settings["index_type"] if "index_type" in settings else f"{searcher} of {settings['codebook_size']} words"
    if manifest.shards:
        kind += f", {len(manifest.shards)} shards"
    also = "keypoints" if searcher == "votes" else "names"
    return (
        f"{manifest.num_images} photos, {count} {units}, {kind}: "
        f"{memory / 1e6:.1f} MB in memory ({memory / max(count, 1):.2f} bytes a {unit}, ids included), "
        f"{disk / 1e6:.1f} MB on disk ({disk / max(count, 1):.2f} bytes a {unit}, {also} included)"
    )

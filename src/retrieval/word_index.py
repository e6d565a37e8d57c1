"""Indexes of local features aggregated by visual words: of VLAD vectors, and the inverted file of ASMK."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

import faiss
import numpy as np

from ..artifacts import PathLike
from ..config import RetrievalConfig
from ..errors import UserError, reading
from ..features.feature_set import FeatureSet
from ..names import bare_name
from ..records import LocalFeatures, Provenance
from .aggregation import Words, asmk, asmk_star, vlad
from .codebook import VLAD_WORDS, Codebook, choose_size, load_codebook, save_codebook, training_rows
from .feature_sources import FeatureSources
from .global_index import GlobalIndex
from .index_folder import (
    AGAIN,
    CODEBOOK_FILE,
    POSTING_FILES,
    REGION_STARTS_FILE,
    WORD_COUNTS_FILE,
    read_faiss,
    read_names,
    read_sources,
    require_one_piece,
    require_whole,
    seal_folder,
    searcher_of,
)
from .index_types import make_product_index
from .inverted_file import Postings, PostingWriter, gather, join, load_postings
from .photo_regions import PhotoRegions, describe_regions, joined, members_of, searches_regions, sums_of_regions
from .votes import search_pool

WORD_SEARCHERS = ("asmk", "asmk_star", "vlad")
# Of such an index, in its provenance
WORD_SETTINGS = (
    "codebook_size", "codebook", "index_assignments", "asmk_family", "regions", "region_levels", "least_box_score",
    "region_search",
)  # fmt: skip
_MOST_NUMBERS = 2**18  # of a VLAD vector; 1 MB a photo

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class AsmkIndex:
    """The words of N photos: for each word the photos that have it, with its sum of residuals there, or their signs.

    With ``region_search`` each region of a photo stands in place of a photo, E in all; otherwise E is N.

    Attributes:
        codebook: its words; None before it is learnt.
        image_names: N file names relative to the photos' folder.
        word_counts: [E] int32, words of each photo or region.
        postings: on disk (memory-mapped) once loaded; None before the codebook is known.
        provenance: weights and encoder of the features, their settings and those of the index, SHA-256 of the files.
        sources: the photos' feature files, for verification.
        region_starts: [N + 1] int64; photo n owns the regions ``region_starts[n]`` to ``region_starts[n + 1]``.
        regions: of the photos that are added.
    """

    codebook: Optional[Codebook] = None
    image_names: List[str] = field(default_factory=list)
    word_counts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    postings: Optional[Postings] = None
    provenance: Provenance = field(default_factory=lambda: Provenance(settings={"searcher": "asmk_star"}))
    sources: Optional[FeatureSources] = None
    region_starts: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    regions: Optional[PhotoRegions] = None
    _writer: Optional[PostingWriter] = None

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.image_names)

    @cached_property
    def names(self) -> List[str]:
        """Names as a Ranking gives them: without extension."""
        return [bare_name(name) for name in self.image_names]

    @property
    def faiss_index(self) -> faiss.Index:
        """What finds the words."""
        return self.codebook.finder

    @property
    def family(self) -> str:
        """Whose ASMK it is; see ``aggregation``."""
        return self.provenance.settings.get("asmk_family", RetrievalConfig().asmk_family)

    @property
    def is_binary(self) -> bool:
        """Whether it is ASMK*: signs alone."""
        return self.provenance.settings["searcher"] == "asmk_star"

    @property
    def searches_regions(self) -> bool:
        """Whether each region is an entry of its own."""
        return searches_regions(self.provenance.settings)

    def features(self, photo: int) -> LocalFeatures:
        """A photo's local features, from the feature file; UserError when that is gone or another one."""
        if self.sources is None:
            raise UserError("this index does not know its feature file; make it again with the command build_index")
        return self.sources.read(self.image_names[photo])

    def encode(self, features: LocalFeatures, assignments: int, pool: Optional[ThreadPoolExecutor] = None) -> Words:
        """The words of a query, each descriptor counting in its ``assignments`` nearest ones."""
        return self._form(sums_of_regions(self.codebook, features, assignments, pool)[0])

    def encode_photo(self, name: str, features: LocalFeatures, assignments: int) -> List[Words]:
        """The words of a photo of the index, by its regions: one entry, or one for each region."""
        sums = sums_of_regions(self.codebook, features, assignments, members=members_of(self, name, features))
        return [self._form(each) for each in (sums if self.searches_regions else joined(sums))]

    def make_room(self, folder: Path, num_photos: int, num_features: int) -> None:
        """What is added from now on goes to the disk, to the files of an index folder."""
        self._writer = PostingWriter(folder, self.postings or self._no_postings())

    def add(self, names: Sequence[str], items: Sequence[LocalFeatures]) -> None:
        """Add photos behind the others; the codebook is known."""
        photos = encode_all(self, names, items)
        encoded, first = [words for entries in photos for words in entries], len(self.word_counts)
        if self._writer is None:
            new = gather(first, encoded, len(self.codebook))
            self.postings = join([self.postings or self._no_postings(), new])
        else:
            for number, words in enumerate(encoded, first):
                self._writer.add(number, words)
        ends = first + np.cumsum([len(entries) for entries in photos], dtype=np.int64)
        self.region_starts = np.concatenate([self.region_starts, ends])
        counts = np.array([len(words.numbers) for words in encoded], np.int32)
        self.word_counts = np.concatenate([self.word_counts, counts])
        self.image_names = [*self.image_names, *names]
        self.__dict__.pop("names", None)

    def finish(self, folder: Path) -> None:
        """Write the inverted file."""
        if self._writer is None:
            self.make_room(folder, 0, 0)
        self.postings, self._writer = self._writer.finish(), None

    def _form(self, sums: Words) -> Words:
        return (asmk_star if self.is_binary else asmk)(sums, self.family)

    def _no_postings(self) -> Postings:
        dimension = self.codebook.dimension
        width, dtype = (-(-dimension // 8), np.uint8) if self.is_binary else (dimension, np.float32)
        return Postings.empty(len(self.codebook), width, np.dtype(dtype))


@dataclass(eq=False)
class VladIndex(GlobalIndex):
    """The VLAD vectors of N photos; as of global descriptors, and zeros for a photo without features.

    Attributes:
        codebook: its words; None before it is learnt.
        regions: of the photos that are added.
    """

    codebook: Optional[Codebook] = None
    regions: Optional[PhotoRegions] = None

    def encode(
        self, features: LocalFeatures, assignments: int, pool: Optional[ThreadPoolExecutor] = None
    ) -> np.ndarray:
        """[K * D] float32, the vector of a query."""
        return vlad(sums_of_regions(self.codebook, features, assignments, pool)[0], len(self.codebook))

    def encode_photo(self, name: str, features: LocalFeatures, assignments: int) -> np.ndarray:
        """[K * D] float32, the vector of a photo of the index, by its regions."""
        sums = sums_of_regions(self.codebook, features, assignments, members=members_of(self, name, features))
        return vlad(joined(sums)[0], len(self.codebook))


def encode_all(index: Union[AsmkIndex, VladIndex], names: Sequence[str], items: Sequence[LocalFeatures]) -> List[Any]:
    """What ``encode_photo`` gives of photos of the index, several at a time."""
    assignments, _ = index.provenance.settings.get("index_assignments", 1), index.codebook.finder
    with search_pool(0) as pool:
        return list(pool.map(lambda name, item: index.encode_photo(name, item, assignments), names, items))


def describe_words(
    photos: FeatureSet, searcher: str, retrieval: RetrievalConfig, seed: int, codebook: Optional[Codebook]
) -> Dict[str, Any]:
    """The settings of an index of words.

    Args:
        photos: of the index.
        searcher: which.
        retrieval: codebook, aggregation and regions.
        seed: of a codebook that is learnt.
        codebook: one that is given; None = it is learnt from the photos.

    Raises:
        UserError: photos without any feature, a codebook of other descriptors, or a VLAD vector of absurd length.
    """
    count, path = int(photos.counts.sum()), photos.paths[0]
    if not count:
        raise UserError(f"{path}: its photos have no local features; extract again, with a lower `score_threshold`")
    settings: Dict[str, Any] = {"searcher": searcher, "index_assignments": retrieval.index_assignments}
    if codebook is None:
        chosen = min(VLAD_WORDS, choose_size(count)) if searcher == "vlad" else choose_size(count)
        settings.update(codebook_size=retrieval.codebook_size or chosen, seed=seed)
    else:
        _require_own(codebook, photos, retrieval.codebook_path)
        settings.update(codebook_size=len(codebook), codebook=codebook.identity)
    settings.update(describe_regions(retrieval, searcher))
    if searcher != "vlad":
        return {**settings, "asmk_family": retrieval.asmk_family}
    if settings["codebook_size"] * photos.dimension > _MOST_NUMBERS:
        fact = f"{settings['codebook_size']} words of {photos.dimension} numbers make too long a vector"
        raise UserError(f"`codebook_size`: {fact}; at most {_MOST_NUMBERS // photos.dimension} words do")
    return settings


def _require_own(codebook: Codebook, photos: FeatureSet, path: PathLike) -> None:
    """UserError for words that were learnt from other descriptors than those of the photos."""
    different = codebook.provenance.differences(photos.provenance, ("weights", "encoder"))
    if not different and codebook.dimension != photos.dimension:
        different = [f"{codebook.dimension} dimensions, not {photos.dimension}"]
    if different:
        fact = f"learnt from other descriptors than those of {photos.paths[0]} ({', '.join(different)})"
        raise UserError(f"{path}: {fact}; learn one from features of the same settings")


def rows_to_learn(index: Union[AsmkIndex, VladIndex], dimension: int) -> int:
    """Descriptors of ``dimension`` numbers that the codebook of an index is learnt from; 0 when it has one."""
    return 0 if index.codebook else training_rows(index.provenance.settings["codebook_size"], dimension)


def save_asmk_index(folder: Path, index: AsmkIndex) -> None:
    """Write an index folder; errors as of ``seal_folder``."""
    index.finish(folder)
    save_codebook(folder / CODEBOOK_FILE, index.codebook)
    np.save(folder / WORD_COUNTS_FILE, index.word_counts)
    written = [CODEBOOK_FILE, WORD_COUNTS_FILE, *POSTING_FILES]
    if index.searches_regions:
        np.save(folder / REGION_STARTS_FILE, index.region_starts)
        written.append(REGION_STARTS_FILE)
    seal_folder(folder, index, (len(index), len(index.postings.photos), index.codebook.dimension), written)


def load_asmk_index(folder: PathLike, fix: str = AGAIN) -> AsmkIndex:
    """Load an index folder; errors as of ``require_whole``."""
    manifest, folder = require_whole(folder, fix), Path(folder)
    require_one_piece(folder, manifest)
    codebook = load_codebook(folder / CODEBOOK_FILE)
    codebook.use_finder(read_faiss(folder, fix))
    with reading(folder, fix):
        counts = np.load(folder / WORD_COUNTS_FILE, allow_pickle=False)
        postings = load_postings(folder)
        index = AsmkIndex(codebook, read_names(folder), counts, postings, manifest.provenance, read_sources(folder))
        index.region_starts = np.arange(len(index) + 1)
        if index.searches_regions:
            index.region_starts = np.load(folder / REGION_STARTS_FILE, allow_pickle=False)
    starts = index.region_starts
    found = (len(index), len(counts), len(postings.photos), len(postings.codes), len(postings.starts) - 1, len(starts))
    wanted = (manifest.num_images, int(starts[-1]), manifest.num_descriptors, int(postings.starts[-1]), len(codebook))
    if found != (*wanted, len(index) + 1):
        raise UserError(f"{folder}: files of different indexes; {fix}")
    logger.info("%s: %d photos, %s of %d words", folder, len(index), searcher_of(manifest), len(codebook))
    return index


def new_vlad_index(dimension: int, **parts: Any) -> VladIndex:
    """An empty index of the vectors of words of ``dimension`` numbers; exact."""
    numbers = parts["provenance"].settings["codebook_size"] * dimension
    return VladIndex(make_product_index("Flat", numbers), **parts)


def save_vlad_index(folder: Path, index: VladIndex) -> None:
    """Write an index folder; errors as of ``seal_folder``."""
    save_codebook(folder / CODEBOOK_FILE, index.codebook)
    seal_folder(folder, index, (len(index), len(index), index.codebook.dimension), (CODEBOOK_FILE,))


def load_vlad_index(folder: PathLike, fix: str = AGAIN) -> VladIndex:
    """Load an index folder; errors as of ``require_whole``."""
    manifest, folder = require_whole(folder, fix), Path(folder)
    require_one_piece(folder, manifest)
    vectors, codebook = read_faiss(folder, fix), load_codebook(folder / CODEBOOK_FILE)
    with reading(folder, fix):
        index = VladIndex(vectors, read_names(folder), manifest.provenance, read_sources(folder), codebook=codebook)
    if {len(index), vectors.ntotal} != {manifest.num_images} or vectors.d != codebook.words.size:
        raise UserError(f"{folder}: files of different indexes; {fix}")
    logger.info("%s: %d photos, VLAD of %d words", folder, len(index), len(codebook))
    return index

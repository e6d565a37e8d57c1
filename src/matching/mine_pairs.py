"""Pairs of photos of one label that geometric verification finds to be of one place: positives to train with.

"Positive = same label and at least 20 inliers": the photos of a landmark show it from all sides, from inside, or not at
all; two that one affine map joins show the same part of it, as pairs of structure from motion do.
"""

import dataclasses
import hashlib
import logging
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, Callable, Deque, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, atomic_write_bytes, digest, is_made
from ..config import MatchingConfig
from ..data.pairs_file import encode_pairs
from ..errors import UserError, reading
from ..features.feature_file import FeatureFile
from ..features.feature_parts import drop_parts, open_parts, parts_folder
from ..features.kinds import LOCAL, part_of
from ..records import LocalFeatures, Provenance
from ..sealed import beside, made_with, read_sealed, write_sealed
from ..stop_signals import StopSignals
from .correspondences import match_descriptors
from .mined_classes import MinedClass, MinedClasses
from .verification import MIN_SAMPLES, verify

logger = logging.getLogger(__name__)

FORMAT_VERSION = 1
_KEPT_PHOTOS = 200  # of a class, in memory; of 1000 x 40 numbers 0.04 GB
_OTHERS = 200  # pairs of different classes that are looked at
_MANY_OTHERS = 0.05  # share of them that is too much
_AGAIN = "give `overwrite`, or another `output`"


class MiningRules(NamedTuple):
    """What a pair is, and how many are sought.

    Attributes:
        min_inliers: that a pair has at least.
        max_pairs_a_class: after so many a class is left; 0 = all are sought.
        max_tries_a_class: pairs of a class that are looked at, drawn at random; 0 = all.
    """

    min_inliers: int = 20
    max_pairs_a_class: int = 100
    max_tries_a_class: int = 1000


class PairCounts(NamedTuple):
    """What was found.

    Attributes:
        pairs, classes: so many pairs of so many classes.
        none, single: classes of two photos or more without a pair, and classes of one photo.
        tried: pairs of one class that were looked at.
        others, others_tried: pairs of different classes that have enough inliers, of so many that were looked at: how
            often photos of two places pass for one.
    """

    pairs: int
    classes: int
    none: int
    single: int
    tried: int
    others: int
    others_tried: int

    def __str__(self) -> str:
        """Such as '412 pairs of 63 classes; 36 classes have none; 1 of 200 pairs of different classes pass too'."""
        single = f", {self.single} a single photo" if self.single else ""
        others = f"; {self.others} of {self.others_tried} pairs of different classes pass too"
        found = f"{self.pairs} pairs of {self.classes} classes; {self.none} classes have none{single}"
        return found + others * (self.others_tried > 0)


def mine_pairs(
    features: PathLike,
    classes: Mapping[str, Sequence[str]],
    output: PathLike,
    matching: MatchingConfig,
    rules: MiningRules,
    seed: int = 0,
    threads: int = 1,
    overwrite: bool = False,
) -> PairCounts:
    """Verify pairs of photos of each class, and write those that agree to ``output``, see ``data.pairs_file``.

    Finished classes are kept when the run is stopped or killed, and it goes on from there. The same features, classes,
    settings and seed give the same file with any number of threads. ``OUTPUT.json`` beside it says how it was made.

    Args:
        features: feature file with local features.
        classes: names of the photos of each label; those without local features are left out.
        output: file to write (.csv).
        matching: how two photos are matched and verified.
        rules: see ``MiningRules``.
        seed: of the pairs drawn, and of RANSAC.
        threads: that verify.
        overwrite: another file at ``output`` may be replaced.

    Raises:
        UserError: no such features, another file stands at ``output``, or there is no pair.
        Interrupted: SIGINT or SIGTERM came; finished classes are kept.
    """
    output = Path(output)
    if output.suffix.lower() != ".csv":
        raise UserError(f"{output}: the name of a table of pairs must end in .csv (`output`)")
    if rules.min_inliers < MIN_SAMPLES + 1:
        fact = f"`min_inliers` is {rules.min_inliers}, and any {MIN_SAMPLES} correspondences agree with an affine map"
        raise UserError(f"{fact}; give {MIN_SAMPLES + 1} or more")
    with FeatureFile(features, "features") as source:
        made = part_of(source.provenance, LOCAL)
        settings = {**made.settings, **matching.values(), **rules._asdict(), "seed": seed}
        sources = {"features": digest(made.sources), "classes": digest(classes)}
        wanted = dataclasses.replace(made, settings=settings, sources=sources, notes={})
        if is_made(output, wanted, lambda path: made_with(path, FORMAT_VERSION, "mine_pairs", _AGAIN), overwrite):
            drop_parts(output)
            return _read_counts(output)
        having = {label: [name for name in names if source.has_local(name)] for label, names in classes.items()}
        _tell_left_out(features, classes, having)
        with open_parts(output, wanted, overwrite) as folder:
            done = MinedClasses(folder)
            _mine_missing(having, done, partial(_mine_class, source, matching, rules, seed), threads, output)
            others = _try_others(source, having, matching, rules.min_inliers, seed)
            counts = _count(having, done.found, *others)
            if counts.pairs:
                _write(output, wanted, done.found, counts)
    drop_parts(output)
    if not counts.pairs:
        fact = f"none of {counts.tried} pairs of photos of one label has {rules.min_inliers} inliers"
        raise UserError(f"{features}: {fact}; lower `min_inliers`, or look at the photos and their features")
    return counts


def _tell_left_out(features: PathLike, classes: Mapping[str, Sequence[str]], having: Mapping[str, List[str]]) -> None:
    photos, left = (sum(map(len, each.values())) for each in (classes, having))
    if not left:
        raise UserError(f"{features}: no photo with a label has local features in it; extract them")
    if left < photos:
        logger.info("%d of %d photos have no local features and are left out", photos - left, photos)


def _mine_missing(
    classes: Mapping[str, List[str]],
    done: MinedClasses,
    mine: Callable[[Callable[[], bool], str, List[str]], MinedClass],
    threads: int,
    output: Path,
) -> None:
    """Mine the classes that ``done`` lacks, in threads, and add each to it."""
    several = {label: names for label, names in classes.items() if len(names) > 1}
    missing = {label: names for label, names in several.items() if label not in done.found}
    if len(missing) < len(several):
        logger.info("%d of %d classes were finished by an earlier run", len(several) - len(missing), len(several))
    bar = tqdm(total=sum(map(_num_pairs, missing.values())), desc="pairs", unit="pair", disable=None)
    with StopSignals() as stop, bar, ThreadPoolExecutor(threads) as pool:
        tasks = (partial(mine, lambda: stop.number != 0, label, names) for label, names in missing.items())
        for label, found in zip(missing, _in_order(pool, tasks, 2 * threads)):
            if stop.number:  # this class may not be finished
                parts = f"{len(done.found)} of {len(several)} classes are kept in {parts_folder(output)}"
                stop.raise_stopped(f"stopped; {parts}: run the same command again to go on")
            done.add(label, found)
            bar.update(_num_pairs(missing[label]))


def _in_order(pool: ThreadPoolExecutor, tasks: Iterator[Callable[[], Any]], ahead: int) -> Iterator[Any]:
    """Results of ``tasks``, in order; no more than ``ahead`` wait for the caller."""
    waiting: Deque[Future] = deque(map(pool.submit, islice(tasks, ahead)))
    try:
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(map(pool.submit, islice(tasks, 1)))
    finally:
        for future in waiting:
            future.cancel()


def _num_pairs(names: Sequence[str]) -> int:
    return len(names) * (len(names) - 1) // 2


def _mine_class(
    source: FeatureFile,
    matching: MatchingConfig,
    rules: MiningRules,
    seed: int,
    stopped: Callable[[], bool],
    label: str,
    names: List[str],
) -> MinedClass:
    """The pairs of one class; it depends on no other class. Fewer than there are once ``stopped`` says so."""
    read = lru_cache(_KEPT_PHOTOS)(source.read)
    pairs: List[Tuple[str, str, int]] = []
    tried = 0
    rng = np.random.default_rng((seed, zlib.crc32(label.encode("utf-8", "surrogateescape"))))
    for first, second in draw_pairs(len(names), rules.max_tries_a_class, rng).tolist():
        if stopped() or (rules.max_pairs_a_class and len(pairs) == rules.max_pairs_a_class):
            break
        a, b = sorted((names[first], names[second]))
        inliers = count_inliers(read(a), read(b), matching, rules.min_inliers, seed)
        tried += 1
        if inliers >= rules.min_inliers:
            pairs.append((a, b, inliers))
    return MinedClass(tried, sorted(pairs))


def draw_pairs(count: int, num: int, rng: np.random.Generator) -> np.ndarray:
    """``num`` different pairs of 0 .. count - 1, in random order: [M, 2] int64, the lower first; all of them for 0."""
    total = count * (count - 1) // 2
    drawn = rng.choice(total, min(num or total, total), replace=False)
    starts = np.arange(count, dtype=np.int64) * np.arange(-1, count - 1) // 2  # pairs whose higher number is lower
    higher = np.searchsorted(starts, drawn, side="right") - 1
    return np.stack([drawn - starts[higher], higher], axis=1)


def count_inliers(a: LocalFeatures, b: LocalFeatures, matching: MatchingConfig, least: int, seed: int) -> int:
    """Correspondences of two photos that agree with one affine map; 0 without RANSAC where they are below ``least``."""
    matches = match_descriptors(a, b, matching.match_distance, matching.match_ratio, matching.mutual_check)
    if len(matches) < least:
        return 0
    how = (matching.ransac_method, matching.ransac_residual, matching.ransac_trials, seed, matching.residual_unit)
    return verify(matches, a.keypoints, b, *how).num_inliers


def _try_others(
    source: FeatureFile, classes: Mapping[str, List[str]], matching: MatchingConfig, least: int, seed: int
) -> Tuple[int, int]:
    """(those with ``least`` inliers, all) of some pairs of photos of different classes, drawn at random."""
    rng, read = np.random.default_rng(seed), lru_cache(_KEPT_PHOTOS)(source.read)
    photos = [(label, name) for label, names in classes.items() for name in names]
    drawn = [[photos[place] for place in sorted(pair)] for pair in rng.integers(0, len(photos), (2 * _OTHERS, 2))]
    others = [(a, b) for (one, a), (other, b) in drawn if one != other][:_OTHERS]
    inliers = [count_inliers(read(a), read(b), matching, least, seed) for a, b in others]
    passed = sum(count >= least for count in inliers)
    if passed > _MANY_OTHERS * len(others):
        fact = f"{passed} of {len(others)} pairs of photos of different classes have {least} inliers too"
        fix = "" if matching.mutual_check else ", or give `mutual_check`"
        logger.warning("%s, so a pair says little: raise `min_inliers`%s", fact, fix)
    return passed, len(others)


def _count(classes: Mapping[str, List[str]], found: Mapping[str, MinedClass], *others: int) -> PairCounts:
    pairs = [len(mined.pairs) for mined in found.values()]
    single = sum(len(names) == 1 for names in classes.values())
    having = sum(count > 0 for count in pairs)
    tried = sum(mined.tried for mined in found.values())
    return PairCounts(sum(pairs), having, len(pairs) - having, single, tried, *others)


def _write(output: Path, provenance: Provenance, found: Mapping[str, MinedClass], counts: PairCounts) -> None:
    """The record first: a run killed between both is taken up again, as the table is not there yet."""
    table = encode_pairs(sorted(pair for mined in found.values() for pair in mined.pairs))
    record = {"counts": counts._asdict(), "sha256": hashlib.sha256(table).hexdigest()}
    write_sealed(beside(output), FORMAT_VERSION, {**record, "provenance": provenance.as_json()})
    atomic_write_bytes(output, table)


def _read_counts(output: Path) -> PairCounts:
    record = beside(output)
    with reading(record, _AGAIN):
        return PairCounts(**read_sealed(record, FORMAT_VERSION, _AGAIN)["counts"])

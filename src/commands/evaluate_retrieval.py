"""From photos and their ground truth to mAP.txt: extract, index, retrieve, evaluate, report.

The PCA is --pca_path, else the one that an export carries, else pca.npz beside the checkpoint if it was fitted on it,
else one fitted on up to 200 of the photos. Finished steps are skipped when the command runs again.
"""

import argparse
from pathlib import Path
from typing import Dict, Optional, Sequence

from ..artifacts import PathLike
from ..config import Config, ExtractionConfig, GlobalConfig, MatchingConfig, RetrievalConfig, keys_of
from ..evaluation.protocols import PROTOCOLS
from ..features.kinds import GLOBAL, KINDS, LOCAL
from ..records import Photo
from ..retrieval_config import SHARD_KEYS
from .command_line import NETWORK_KEYS, Command, refuse_options, refuse_unused_tests
from .global_options import refuse_idle_options

PCA_PHOTOS = 200


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images_path", help="folder of the photos")
    parser.add_argument(
        "gt_path",
        help="folder of *_query.txt ... files, a gnd_*.pkl or gnd_*.mat file, or a table path,label[,query] (.csv) of "
        "your own photos; for holidays, ukbench and labelled (a folder for each class) the folder of photos again",
    )
    parser.add_argument("checkpoint_path", help="checkpoint of stage attn, an export of one, or weights (.h5, .pth)")
    parser.add_argument(
        "devices", nargs="?", default="0", help="device ids such as 0, 01 or 03, one worker each (default: %(default)s)"
    )
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="how positives are defined (default: modelzoo for a text folder, for a file the one it belongs to)",
    )
    parser.add_argument(
        "--features",
        default=LOCAL,
        choices=KINDS,
        help="local: DELF, votes and RANSAC; global: one vector a photo; both: in one pass of the network, for "
        "--searcher global --rerank ransac or for votes (default: %(default)s)",
    )
    parser.add_argument("--distractors_path", default="", help="folder of photos that join the index as negatives")
    parser.add_argument(
        "--output_path",
        default=".",
        help="folder for mAP.txt, results.json, report.html and, in retrieval_files, what lies between (%(default)s)",
    )


COMMAND = Command(
    __doc__, "photos gt_files net.ckpt --protocol classic --output_path results",
    keys=(
        "num_workers", "overwrite", *[name for name in NETWORK_KEYS if name != "checkpoint_path"],
        *keys_of(ExtractionConfig, GlobalConfig), *keys_of(MatchingConfig, but=("match_distance",)),
        *keys_of(RetrievalConfig, but=SHARD_KEYS),
    ),
    shown=(
        "protocol", "features", "output_path", "distractors_path", "config", "max_image_size", "image_scales",
        "max_feature_num", "pooling", "rerank", "num_rerank", "overwrite",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def evaluate_retrieval(
    images_path: Path,
    gt_path: str,
    config: Config,
    output: Path,
    protocol: Optional[str] = None,
    distractors_path: str = "",
    devices: Sequence[int] = (0,),
    kind: str = LOCAL,
) -> None:
    """Make every file from the features to the report; those that stand finished are kept.

    Queries that are whole photos of the index are not extracted again.

    Args:
        images_path: folder of the photos of index and queries.
        gt_path: ground truth.
        config: the recipe.
        output: folder for the results.
        protocol: None = the default one of the ground truth.
        distractors_path: folder of further photos for the index, '' = none.
        devices: device ids, one extraction worker each.
        kind: of features: local, global or both.

    Raises:
        UserError: bad input, or files of other settings in ``output``.
    """
    from ..evaluation.evaluate import photos_of_queries
    from ..features.extraction import extract_to_file, photos_of_folder, with_prefix
    from ..features.merge import select_features
    from ..retrieval.build import build_index
    from ..retrieval.search import perform_retrieval

    files, run, retrieval = output / "retrieval_files", config.run, config.retrieval
    photos, extraction = photos_of_folder(images_path), config.extraction
    queries, chosen_protocol = photos_of_queries(images_path, gt_path, protocol or "")
    distractors = with_prefix(photos_of_folder(distractors_path), "distractors/") if distractors_path else []
    if kind != GLOBAL:
        extraction = extraction.replace(pca_path=str(_provide_pca(images_path, config, files, devices)))

    def extract(name: str, wanted: Sequence[Photo], crops: str = "") -> Path:
        extract_to_file(
            wanted, files / name, run, config.model, extraction, crops, devices, kind=kind, descriptor=config.descriptor
        )
        return files / name

    features = [extract("index_features.h5", photos)]
    if distractors:
        features.append(extract("distractor_features.h5", distractors))
    if whole := _whole_photos(queries, photos):
        query_features = select_features(features[0], files / "whole_queries.h5", whole)
    else:
        query_features = extract("query_features.h5", queries, chosen_protocol)
    how = retrieval.index_type, run.seed, run.overwrite, retrieval.searcher, retrieval
    index = build_index(features, files / "index", *how)
    ranks = perform_retrieval(
        index, query_features, files / "ranks.npz", retrieval, config.matching, run.seed, run.overwrite
    )
    folders = [Path(folder) for folder in (images_path, distractors_path) if str(folder)]
    _judge(ranks, gt_path, protocol, folders, output, run.overwrite)


def _whole_photos(queries: Sequence[Photo], photos: Sequence[Photo]) -> Dict[str, str]:
    """The photo of the index that each query is; empty unless all of them are whole photos of it."""
    names = {photo.path: photo.name for photo in photos}
    if any(query.box is not None or query.path not in names for query in queries):
        return {}
    return {query.name: names[query.path] for query in queries}


def _provide_pca(images_path: Path, config: Config, files: Path, devices: Sequence[int]) -> PathLike:
    """The PCA of ``pca_for``, else one fitted on some of the photos."""
    from ..engines import weights_identity
    from ..features.extraction import extract_to_file, photos_of_folder
    from ..features.learn_pca import learn_pca
    from ..features.pca import pca_for

    weights = weights_identity(config.run, config.model)
    found = pca_for(config.extraction, config.model.checkpoint_path, weights)
    if found is not None:
        return found
    sample, fitted = files / "pca_sample.h5", files / "pca.npz"
    photos = photos_of_folder(images_path, PCA_PHOTOS, config.run.seed)
    extract_to_file(photos, sample, config.run, config.model, config.extraction, devices=devices)
    learn_pca(sample, fitted, config.extraction.pca_dim, config.run.overwrite)
    return fitted


def _judge(
    ranks: Path, gt_path: str, protocol: Optional[str], photos: Sequence[Path], output: Path, overwrite: bool
) -> None:
    """mAP.txt, results.json and the report of a ranking."""
    from . import compute_map, report

    options = ["--ranks", str(ranks), "--gt_path", gt_path, *(["--protocol", protocol] if protocol else [])]
    options += ["--overwrite"] if overwrite else []
    compute_map.main([*options, "--output", str(output / "mAP.txt")])
    report.main([*options, "--images_path", *map(str, photos), "--output", str(output / "report.html")])


def _refuse_idle_options(argv: Optional[Sequence[str]], config: Config, kind: str) -> None:
    """UserError for an option without effect on this kind of features, on their search or on its re-ranking."""
    from ..retrieval.rerank import idle_keys

    refuse_idle_options(argv, kind, config.descriptor)
    searcher = config.retrieval.searcher
    searcher = {"auto": "global" if kind == GLOBAL else "votes"}.get(searcher, searcher)
    if searcher == "votes":
        refuse_unused_tests(argv, config.retrieval.correspondences)
    how = f"--searcher {searcher} and --rerank {config.retrieval.rerank}"
    refuse_options(argv, idle_keys(config.retrieval, searcher), f"has no effect with {how}: leave it out")


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Parse the command line and go all the way."""
    config, arguments = COMMAND.parse(argv)
    _refuse_idle_options(argv, config, arguments.features)
    from ..artifacts import require_folder, require_place
    from ..device import parse_devices

    for name in ("mAP.txt", "results.json", "report.html"):
        require_place(Path(arguments.output_path) / name, "output_path")
    devices = parse_devices(arguments.devices)
    images_path = require_folder(arguments.images_path, "images_path")
    config = config.replace(checkpoint_path=arguments.checkpoint_path)
    evaluate_retrieval(
        images_path, arguments.gt_path, config, Path(arguments.output_path), arguments.protocol,
        arguments.distractors_path, devices, arguments.features,
    )  # fmt: skip

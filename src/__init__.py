"""Landmark retrieval with MindSpore, in ten lines; installed, this package is called ``delf``.

    encoder = delf.load_encoder("net.ckpt", max_feature_num=500)
    features = encoder.encode("a.jpg").local
    matches = delf.match(encoder, "a.jpg", "b.jpg")
    index = delf.open_index("my_index")
    results = index.search("query.jpg", top_k=5)
    mean_average_precision = delf.evaluate("ranks.npz", "gt_files", protocol="classic")

Keyword arguments are keys of the recipe (``configs/delf_gldv2.yaml``). Errors of input are ``delf.errors.UserError``.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Type, Union

from .config import (
    Config,
    ExtractionConfig,
    GlobalConfig,
    MatchingConfig,
    ModelConfig,
    RetrievalConfig,
    RunConfig,
    Section,
)
from .config import keys_of as _keys_of
from .config import nearest as _nearest

if TYPE_CHECKING:  # what follows takes seconds to import
    from .features.encoder import Encoder, ImageOrPath
    from .records import LocalFeatures, Matches
    from .retrieval.photo_search import PhotoSearch

__all__ = ["evaluate", "load_encoder", "match", "open_index"]

# keys of the sections that have no effect where a network is loaded, or an index opened
_IDLE = ("overwrite", "num_workers", "half", "imagenet_checkpoint", "residual_gamma", "batch_norm_momentum",
         "index_type", "keep_matches", "match_distance")  # fmt: skip


def load_encoder(checkpoint_path: Union[str, Path], features: str = "local", **settings: Any) -> "Encoder":
    """A network ready to turn photos into features.

    Args:
        checkpoint_path: checkpoint of stage attn, an export of one (.onnx, .mindir), or other libraries' weights (.h5,
            .pth, .pt).
        features: what ``encode`` gives: "local" features, a "global" descriptor, or "both".
        settings: keys of the recipe's sections run, model and extraction, such as ``pca_path="pca.npz"``,
            ``max_feature_num=500`` or ``engine="openvino"``, and of section descriptor, such as ``pooling="gem"``,
            where ``features`` has global ones.

    Raises:
        TypeError: a keyword that is no such key; it names the nearest one.
        UserError: a file or value that cannot be used.
    """
    sections = (RunConfig, ModelConfig, ExtractionConfig, *(() if features == "local" else (GlobalConfig,)))
    config = _config(settings, *sections, but=_IDLE)
    from .device import prepare_process

    prepare_process()
    from .features.encoder import load_encoder as load

    model = config.model.replace(checkpoint_path=checkpoint_path)
    return load(config.run, model, config.extraction, kind=features, descriptor=config.descriptor)


def match(
    encoder: "Encoder",
    a: Union["ImageOrPath", "LocalFeatures"],
    b: Union["ImageOrPath", "LocalFeatures"],
    **settings: Any,
) -> "Matches":
    """Match two photos and verify the correspondences by RANSAC.

    Args:
        encoder: of ``load_encoder``.
        a, b: path, bytes of the file, PIL image or array of each photo, or its features.
        settings: keys of the recipe's section matching, such as ``match_distance=0.9``, and ``seed``.

    Returns:
        Row numbers of both photos' features, the inliers among them, and the affine map from A to B.

    Raises:
        TypeError, UserError: as ``load_encoder``.
    """
    config = _config(settings, MatchingConfig, more=("seed",))
    from .matching.match import match_features
    from .records import LocalFeatures

    features = [photo if isinstance(photo, LocalFeatures) else encoder.encode(photo).local for photo in (a, b)]
    return match_features(*features, **config.matching.values(), seed=config.run.seed)


def open_index(folder: Union[str, Path], **settings: Any) -> "PhotoSearch":
    """Open a folder that ``delf build_photo_index`` made; its ``search(photo, top_k)`` gives the best photos.

    Args:
        folder: the index of one's own photos.
        settings: keys of the recipe's sections run, matching and retrieval, and ``checkpoint_path`` or ``engine``.

    Raises:
        TypeError, UserError: as ``load_encoder``.
    """
    more = ("checkpoint_path", "engine")
    config = _config(settings, RunConfig, MatchingConfig, RetrievalConfig, more=more, but=_IDLE)
    from .device import prepare_process

    prepare_process()
    from .retrieval.photo_index import load_photo_index
    from .retrieval.photo_search import PhotoSearch

    return PhotoSearch(load_photo_index(folder), config.run, config.model, config.matching, config.retrieval)


def evaluate(ranks: Union[str, Path], gt_path: Union[str, Path], protocol: Optional[str] = None) -> Dict[str, float]:
    """Mean average precision of a ranking, a fraction for each setting of the protocol; NaN without any positive.

    Args:
        ranks: ranking file (.npz) of ``delf perform_retrieval``.
        gt_path: ground truth: a folder of text files, or a gnd file, or a table path,label; for holidays, ukbench and
            labelled the photos' folder.
        protocol: see ``delf compute_map --help``; None = the default one of the ground truth.

    Raises:
        UserError: files that cannot be read or do not go together.
    """
    from .evaluation.evaluate import evaluate as judge
    from .evaluation.ground_truth_files import load_ground_truth
    from .evaluation.protocols import choose_protocol, of_index
    from .retrieval.ranking_file import load_ranking

    ranking, _ = load_ranking(ranks)
    ground_truth = of_index(load_ground_truth(gt_path, protocol, ranking.index_names), ranking.index_names)
    judged = judge(ground_truth, ranking, choose_protocol(ground_truth, protocol))
    return {setting: metrics.means().mean_average_precision for setting, metrics in judged.metrics.items()}


def _config(
    settings: Dict[str, Any], *sections: Type[Section], more: Sequence[str] = (), but: Sequence[str] = ()
) -> Config:
    """The recipe with ``settings``, which are keys of ``sections``, without those of ``but``, or of ``more``."""
    known = (*_keys_of(*sections, but=but), *more)
    for name in settings:
        if name not in known:
            raise TypeError(f"{name!r} is no keyword here{_nearest(name, known)}")
    return Config(**settings)

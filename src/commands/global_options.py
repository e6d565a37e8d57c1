"""Which options of extraction do nothing, by what is extracted."""

from typing import Optional, Sequence

from ..config import GlobalConfig, keys_of
from ..features.kinds import GLOBAL, LOCAL
from .command_line import refuse_options

_LOCAL_KEYS = (
    "image_scales", "max_feature_num", "score_threshold", "iou_threshold", "half", "pca_path", "force_pca", "pca_dim",
    "use_whitening",
)  # fmt: skip


def refuse_idle_options(argv: Optional[Sequence[str]], kind: str, descriptor: GlobalConfig) -> None:
    """UserError for an option of the command line that has no effect beside the others.

    Args:
        argv: as of ``Command.parse``.
        kind: what is extracted: "local", "global" or "both".
        descriptor: section of the recipe.
    """
    if kind == LOCAL:
        refuse_options(argv, keys_of(GlobalConfig), "is of global descriptors: give --features global or both with it")
        return
    if kind == GLOBAL:
        refuse_options(argv, _LOCAL_KEYS, "is of local features: leave it out, or give --features local or both")
    pooling = descriptor.pooling
    if pooling not in ("auto", "gem", "regional"):
        refuse_options(argv, ("gem_p",), f"has no effect on --pooling {pooling}: leave it out")
    if pooling in ("mac", "spoc", "gem"):
        refuse_options(argv, ("rmac_levels",), f"has no effect on --pooling {pooling}: leave it out")
    if len(descriptor.global_scales) == 1:
        refuse_options(argv, ("scale_pooling",), "joins several scales: give --global_scales with it")
    if not descriptor.whitening_path:
        refuse_options(argv, ("whiten_dim",), "has no effect without --whitening_path")

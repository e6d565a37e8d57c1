"""What the recipe leaves open, decided: the engine that "auto" stands for, and the score threshold."""

import logging

from ..config import Config
from ..engines.choose import resolve_engine
from .score_threshold import saved_threshold

logger = logging.getLogger(__name__)


def resolve(config: Config, checkpoint_sha256: str) -> Config:
    """The recipe with an engine, and with the threshold saved beside the checkpoint if it gives none.

    Raises:
        UserError: the engine cannot be used, or the saved threshold belongs to another checkpoint.
    """
    config = resolve_engine(config)
    if config.score_threshold is not None:
        return config
    threshold = saved_threshold(config.checkpoint_path, checkpoint_sha256)
    if threshold is not None:
        logger.info("score threshold %g, saved beside the checkpoint", threshold)
    return config.replace(score_threshold=threshold)

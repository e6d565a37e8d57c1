"""Serve a page on which people search a collection with their own photos, and the same as JSON (/api/schema).

--index is a folder of build_photo_index, or one of build_index; the latter wants --images_path and --checkpoint_path.
The page is for this machine alone unless --host says otherwise. Needs requirements-web.txt.
"""

import argparse
import logging
from functools import partial
from typing import Optional, Sequence

from ..config import MatchingConfig, RetrievalConfig, keys_of
from ..errors import UserError
from ..retrieval_config import INDEX_KEYS
from .command_line import Command, refuse_options, refuse_unused_tests

_PORT = 8000
_FILES = ("pca_path", "whitening_path", "whiten_dim", "region_whitening_path")  # of an index's photos

logger = logging.getLogger(__name__)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--index", required=True, help="folder made by build_photo_index or build_index")
    parser.add_argument("--images_path", default="", help="the indexed photos; of a photo index, where they have moved")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=_PORT, help="port to listen on; 0 = any that is free (default: %(default)s)"
    )
    parser.add_argument(
        "--max_upload_mb", type=int, default=25, help="largest file of a query, megabytes (default: %(default)s)"
    )
    parser.add_argument(
        "--max_megapixels", type=int, default=50, help="largest photo of a query (default: %(default)s)"
    )
    parser.add_argument(
        "--same_place",
        default="",
        help="calibration made by calibrate_same_place (default: the one beside the checkpoint, or in the index)",
    )


COMMAND = Command(
    __doc__, "--index photo_index",
    keys=(
        *keys_of(RetrievalConfig, MatchingConfig, but=(*INDEX_KEYS, "searcher", "keep_matches", "match_distance")),
        "checkpoint_path", *_FILES, "engine", "device_target", "seed",
    ),
    shown=(
        "index", "images_path", "host", "port", "max_upload_mb", "max_megapixels", "same_place", "checkpoint_path",
        "rerank", "num_rerank", "engine",
    ),
    add_arguments=_arguments,
)  # fmt: skip


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Open the collection, say where its page is, and serve it until Ctrl-C."""
    config, arguments = COMMAND.parse(argv)
    for name in ("max_upload_mb", "max_megapixels"):
        if not 1 <= getattr(arguments, name) <= 1000:
            raise UserError(f"--{name} is {getattr(arguments, name)}; it must be from 1 to 1000")
    if arguments.port > 65535:
        raise UserError(f"--port is {arguments.port}; it must be at most 65535")
    from ..retrieval.rerank import idle_keys
    from ..serve.server import LOOPBACK, address_of, bind, require_server, serve, trusted_hosts

    require_server()
    from ..serve.asking import Limits
    from ..serve.opening import open_collection, searcher_in

    searcher, is_photo_index = searcher_in(arguments.index)
    if searcher == "votes":
        refuse_unused_tests(argv, config.retrieval.correspondences)
    refuse_options(argv, idle_keys(config.retrieval, searcher), "has no effect on this index with this --rerank")
    if is_photo_index:
        refuse_options(argv, _FILES, "has no effect on a photo index, which has its own: leave it out")
    limits = Limits(arguments.max_upload_mb * 10**6, arguments.max_megapixels * 10**6)
    opening = open_collection(arguments.index, config, arguments.images_path, arguments.same_place)
    listening = bind(arguments.host, arguments.port)
    if arguments.host not in LOOPBACK:
        logger.warning("whoever reaches this machine sees the collection: there is no password")
    started = partial(print, f"{address_of(listening)} (Ctrl-C ends it)", flush=True)
    serve(opening, listening, limits, trusted_hosts(arguments.host), started)

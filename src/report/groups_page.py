"""The page of groups: the photos of each place side by side."""

import logging
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..artifacts import PathLike, atomic_write_text
from ..errors import printable
from ..names import in_either_form
from .pages import render_page
from .photos import SIZES, Thumbnail, read_photos, style_rules

_BUDGET = 40_000_000  # bytes of thumbnails, with which a browser is still quick
_SHOWN_PHOTOS = 2000

logger = logging.getLogger(__name__)


def write_groups_page(
    path: PathLike,
    title: str,
    counts: str,
    groups: Sequence[Sequence[str]],
    copies: Mapping[str, str],
    images_path: PathLike,
) -> None:
    """Write the page, in place of an older one.

    Args:
        path: HTML file.
        title, counts: of the page, and the line below it.
        groups: names of the photos of each; beyond so many photos groups are left out, and their number told.
        copies: by photo the one it is nearly a copy of.
        images_path: folder of the photos.
    """
    shown: List[Sequence[str]] = []
    for group in groups:
        if sum(map(len, shown)) + len(group) > _SHOWN_PHOTOS and shown:
            break
        shown.append(group)
    if len(shown) < len(groups):
        counts += f" The first {len(shown)} groups are shown."
    names = [name for group in shown for name in group]
    files: Dict[str, Optional[Path]] = {name: in_either_form(Path(images_path) / name) for name in names}
    files = {name: file if file.is_file() else None for name, file in files.items()}
    thumbnails, pictures = read_photos(files)
    rules, size = style_rules(pictures, _BUDGET, SIZES)
    drawn = [[_draw(name, thumbnails[name], copies.get(name, "")) for name in group] for group in shown]
    page = render_page("groups.html", title=title, counts=counts, groups=drawn, thumbnail_rules=rules)
    atomic_write_text(path, page)
    logger.info("%s: %d groups, photos of %s, %.1f MB", path, len(shown), size, len(page) / 1e6)


def _draw(name: str, thumbnail: Thumbnail, copy_of: str) -> Dict[str, Any]:
    return {"name": printable(name), "thumbnail": thumbnail, "copy_of": printable(copy_of)}

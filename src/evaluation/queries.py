"""The queries of a ground truth as photos to extract."""

from pathlib import Path
from typing import List, Tuple

from ..artifacts import PathLike, require_folder
from ..errors import UserError
from ..features.photos import Photo
from ..images import list_images
from ..names import NameTable
from .ground_truth_files import load_ground_truth
from .protocols import choose_protocol, query_box


def photos_of_queries(images_path: PathLike, gt_path: PathLike, protocol: str = "") -> Tuple[List[Photo], str]:
    """The queries of a ground truth, by their names there, with the boxes of the protocol ('' = its default).

    Returns:
        The photos, and the protocol used.

    Raises:
        UserError: unusable ground truth or protocol, or a query's photo is not in the folder.
    """
    files = list_images(require_folder(images_path, "images_path"))
    ground_truth = load_ground_truth(gt_path, protocol, files)
    protocol = choose_protocol(ground_truth, protocol)
    table = NameTable(files)
    photos = []
    for query in ground_truth.queries:
        number = table.find(query.image_name)
        if number is None:
            raise UserError(f"{images_path}: no photo {query.image_name} in it, which query {query.name} needs")
        path = Path(images_path) / files[number]
        photos.append(Photo(query.name, str(path), query_box(query, protocol)))
    return photos, protocol

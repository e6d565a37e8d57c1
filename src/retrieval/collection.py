"""A collection: PCA, features and index of a folder of one's own photos, and what they were made with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

from ..artifacts import PathLike, atomic_write_json, require_folder
from ..config import Config
from ..engines.identity import weights_sha256
from ..errors import UserError

SETTINGS_FILE, PCA_FILE, INDEX_FOLDER = "settings.json", "pca.npz", "index"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Collection:
    """A finished or half-made collection.

    Attributes:
        folder: where it lies.
        settings: what it was made with and how far that is; see ``build_collection``.
    """

    folder: Path
    settings: Dict[str, Any]

    @property
    def index(self) -> Path:
        return self.folder / INDEX_FOLDER

    @property
    def images_path(self) -> Path:
        return Path(self.settings["images_path"])

    def feature_files(self) -> List[Path]:
        """The finished ones, oldest first."""
        return sorted(self.folder.glob("features-*.h5"))

    def save(self) -> None:
        """Write the settings."""
        atomic_write_json(self.folder / SETTINGS_FILE, self.settings)

    def extraction(self, config: Config) -> Config:
        """``config`` with the extraction of this collection: its settings, PCA and, unless given, checkpoint.

        Raises:
            UserError: the checkpoint is gone or another one.
        """
        path = config.checkpoint_path or self.settings["checkpoint_path"]
        if not Path(path).is_file():
            raise UserError(f"{path}: gone, the checkpoint of {self.folder}; give `checkpoint_path` where it is now")
        if weights_sha256(path) != self.settings["checkpoint_sha256"]:
            raise UserError(f"{path}: not the checkpoint that {self.folder} was made with; give that one")
        values = {**self.settings["extraction"], "pca_path": str(self.folder / PCA_FILE), "checkpoint_path": str(path)}
        values["image_scales"] = tuple(values["image_scales"])
        return config.replace(**values)


def load_collection(folder: PathLike) -> Collection:
    """Open a collection; UserError when the folder is none."""
    path = require_folder(folder, "index") / SETTINGS_FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        version = settings["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"not a photo index ({path.name}: {error})"
        raise UserError(f"{folder}: {reason}; make one with tools/build_photo_index.py") from error
    if version != FORMAT_VERSION:
        raise UserError(f"{folder}: format {version}, this program reads {FORMAT_VERSION}; make it again, `overwrite`")
    return Collection(Path(folder), settings)

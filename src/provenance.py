"""What a result was made with: versions of Python and of the packages, and the commit of this repository."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Dict, Optional

PACKAGES = ("mindspore", "numpy", "opencv-python-headless", "faiss-cpu", "scikit-image")
_REPOSITORY = Path(__file__).resolve().parents[1]


def versions() -> Dict[str, Optional[str]]:
    """Version by name of Python and each of ``PACKAGES``; None for one that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(package: str) -> Optional[str]:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_commit() -> Optional[str]:
    """Commit of this repository, with '-dirty' when files differ from it; None when it is no git checkout."""
    if not (_REPOSITORY / ".git").exists():  # git would answer for a repository around this one
        return None
    command = ["git", "-C", str(_REPOSITORY), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None

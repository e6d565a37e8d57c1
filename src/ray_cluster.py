"""A cluster of Ray's, or one of this machine alone for this run; imported, and Ray with it, where it is asked for.

Ray starts an actor again that has died, and asks it again: what is asked of one must follow from files and arguments.
"""

import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

from .errors import UserError, install_command

MOST_RESTARTS = 5  # of one actor; one that dies each time, for lack of memory, is given up


@contextmanager
def joined(address: str) -> Iterator[Any]:
    """Ray, joined to a cluster until the block ends.

    Without an address it runs on this machine alone, listens on its loopback address, and is stopped at the end. A Ray
    that this process has started before is used and left as it is.

    Args:
        address: host:port of a running cluster; '' = none.

    Raises:
        UserError: Ray is not installed, or no cluster answers.
    """
    ray = _import(address)
    begun = not ray.is_initialized()
    if begun:
        start(ray, address)
    try:
        yield ray
    finally:
        if begun:
            ray.shutdown()


def answer_of(ray: Any, asked: Any, what: str) -> Any:
    """What an actor has answered.

    Args:
        ray: of ``joined``.
        asked: of the call.
        what: the actor does, for the message.

    Raises:
        UserError: that the actor has raised, or the actor has died again and again.
    """
    try:
        return ray.get(asked)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.RayActorError as error:
        fact = f"the process that {what} has died {MOST_RESTARTS + 1} times"
        raise UserError(f"{fact}; give it more memory, or less to do") from error


def _import(address: str) -> Any:
    """The module; without an address it will listen to this machine alone, which is settled as it is imported."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not address:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # of any system: its own address is the loopback one
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError(f"`executor` ray: Ray is not installed: run {install_command('cluster')}") from error
    import ray.exceptions

    return ray


def start(ray: Any, address: str, num_cores: int = 0) -> None:
    """Join a cluster, or begin one of this machine alone with so many cores; 0 = those this process may use."""
    root = str(Path(__file__).resolve().parents[1])  # actors import this package too
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    common = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": {"PYTHONPATH": paths}},
    }
    try:
        if address:
            ray.init(address=address, **common)
        else:
            cores = num_cores or len(os.sched_getaffinity(0))
            ray.init(address="local", num_cpus=cores, include_dashboard=False, **common)
    except Exception as error:  # of a machine that is too busy Ray says so by that very class
        ray.shutdown()
        where = address or "this machine"
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"`ray_address` {where}: no Ray there ({reason}); see docs/scale.md") from error

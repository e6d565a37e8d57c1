"""Ray as the executor of an index of shards: actors own shards, on this machine or on those of a cluster."""

import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from ..errors import UserError
from ..names import bare_name
from ..ray_cluster import MOST_RESTARTS, answer_of, joined
from .index_folder import read_names
from .shard import IndexShard, SearchSettings, load_shard
from .votes import search_pool

_SLOW_SECONDS = 30.0  # without an answer, after which a shard is reported

_Function = Callable[..., Any]

logger = logging.getLogger(__name__)


class RayShard(NamedTuple):
    """A shard that an actor owns.

    Attributes:
        names: of its photos, without extension.
        folder: of the shard.
        actor, number: that owns it, and which of the actors it is.
        place: among the shards of that actor.
    """

    names: List[str]
    folder: Path
    actor: Any
    number: int
    place: int


class ShardOwner:
    """The actor: has some shards open in its process.

    Args:
        folders: of the shards.
        settings: of search and verification.
    """

    def __init__(self, folders: Sequence[str], settings: SearchSettings) -> None:
        self._folders, self._settings = folders, settings
        self._pool = search_pool(settings.retrieval.search_threads or 1)  # there is one actor for each core
        self._shards: Dict[int, IndexShard] = {}

    def run(self, place: int, function: _Function, *arguments: Any) -> Tuple[int, Any]:
        """The process, and ``function(shard, ...)`` of one of the shards; it is opened when it is first asked."""
        if place not in self._shards:
            self._shards[place] = load_shard(Path(self._folders[place]), self._settings, self._pool)
        return os.getpid(), function(self._shards[place], *arguments)


class RayExecutor:
    """An ``Executor`` of ``RayShard``s.

    Args:
        ray: the module.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._processes: Dict[int, int] = {}

    def map(self, function: _Function, shards: Iterable[RayShard], *iterables: Iterable[Any]) -> Iterator[Any]:
        """As ``Executor.map``; ``function`` is sent once to each machine.

        Raises:
            UserError: what the function raises there; or an actor that dies again and again.
        """
        shards = list(shards)
        sent = self._ray.put(function)
        asked = [shard.actor.run.remote(shard.place, sent, *arguments) for shard, *arguments in zip(shards, *iterables)]
        self._wait(dict(zip(asked, shards)))
        return iter([self._answer(each, shard) for each, shard in zip(asked, shards)])

    def _wait(self, asked: Dict[Any, RayShard]) -> None:
        """Until all have answered; those that are slow are reported."""
        pending, seconds = list(asked), 0.0
        while pending:
            _, pending = self._ray.wait(pending, num_returns=len(pending), timeout=_SLOW_SECONDS, fetch_local=False)
            seconds += _SLOW_SECONDS
            for each in pending:
                logger.warning("%s: no answer for %.0f s", asked[each].folder, seconds)

    def _answer(self, asked: Any, shard: RayShard) -> Any:
        process, answer = answer_of(self._ray, asked, f"searches {shard.folder}")
        known = self._processes.setdefault(shard.number, process)
        if known != process:
            logger.warning("%s: its process has died; it was started again and asked again", shard.folder)
            self._processes[shard.number] = process
        return answer


@contextmanager
def open_ray(folders: Sequence[Path], settings: SearchSettings) -> Iterator[Tuple[List[RayShard], RayExecutor]]:
    """The shards in ``folders``, owned by actors.

    Args:
        folders: of the shards, which every machine must see under the same path.
        settings: of search and verification, with ``ray_address`` and ``ray_actors``.

    Raises:
        UserError: as of ``joined``, or the cluster has fewer cores than there shall be actors.
    """
    retrieval = settings.retrieval
    with joined(retrieval.ray_address) as ray:
        cores = int(ray.cluster_resources().get("CPU", 0))
        count = min(len(folders), retrieval.ray_actors or max(1, cores))
        if count > cores:
            raise UserError(f"`ray_actors` is {count}, the cluster has {cores} cores: give fewer")
        shards = _assign(ray, folders, settings, count)
        try:
            yield shards, RayExecutor(ray)
        finally:
            for actor in {shard.number: shard.actor for shard in shards}.values():
                ray.kill(actor)  # else it would keep its core for a while


def _assign(ray: Any, folders: Sequence[Path], settings: SearchSettings, count: int) -> List[RayShard]:
    """The shards among so many actors: one after the other."""
    owner = ray.remote(ShardOwner).options(
        num_cpus=1, max_restarts=MOST_RESTARTS, max_task_retries=MOST_RESTARTS, scheduling_strategy="SPREAD"
    )
    folders = [folder.absolute() for folder in folders]
    actors = [owner.remote([str(folder) for folder in folders[number::count]], settings) for number in range(count)]
    return [
        RayShard(
            [bare_name(name) for name in read_names(folder)],
            folder,
            actors[number % count],
            number % count,
            number // count,
        )
        for number, folder in enumerate(folders)
    ]

"""Extraction by the actors of a Ray cluster, one for each device: lists of photos go out, features come back."""

import os
from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

from ..device import network_threads
from ..errors import UserError
from ..ray_cluster import MOST_RESTARTS, answer_of, joined
from ..records import Photo
from .encoder import Encoder, Extracted, Pipeline

_LIST_PHOTOS = 8  # handed out at a time; what is lost with an actor
_LISTS_AHEAD = 2  # of each actor: one in work, one waiting

Receive = Callable[[Photo, Union[Extracted, str]], None]


class Extractor:
    """The actor: has the network loaded in its process.

    Args:
        encoder: not loaded yet.
        threads: that read photos.
        network_threads: of the network, 0 = all cores.
    """

    def __init__(self, encoder: Encoder, threads: int, network_threads: int) -> None:
        self._encoder, self._threads, self._network_threads = encoder, threads, network_threads
        self._pipeline: Any = None

    def encode(self, photos: Sequence[Photo]) -> List[Tuple[Photo, Union[Extracted, str]]]:
        """The photos' features, or the reasons why they have none; the network is loaded at the first call."""
        if self._pipeline is None:  # Ray shows each actor its own device alone, which is the first there
            self._pipeline = Pipeline(self._encoder.load(0, self._network_threads), self._threads)
        remaining, found = iter(photos), []
        self._pipeline.run(lambda _: next(remaining), lambda photo, result: found.append((photo, result)))
        return found


def encode_on_cluster(
    address: str, num_actors: int, photos: Sequence[Photo], encoder: Encoder, threads: int, receive: Receive
) -> None:
    """As ``encode_on_devices``, by the actors of a cluster, which see the photos under the same paths.

    Args:
        address: see ``joined``.
        num_actors: 0 = one for each GPU of the cluster, or where it has none for each machine.
        photos, encoder, threads, receive: as of ``encode_on_devices``.

    Raises:
        UserError: as of ``encode_on_devices`` and ``joined``; the cluster has too few devices, or an actor dies again
            and again.
    """
    with joined(address) as ray:
        resources, machines = ray.cluster_resources(), len(ray.nodes())
        num_gpus, num_cores = (int(resources.get(name, 0)) for name in ("GPU", "CPU"))
        count = min(len(photos), num_actors or num_gpus or machines)
        if count > (num_gpus or num_cores):
            what = f"{num_gpus} GPUs" if num_gpus else f"{num_cores} cores"
            raise UserError(f"`ray_actors` is {count}, the cluster has {what}: give fewer")
        device = {"num_gpus": 1} if num_gpus else {"num_cpus": 1}
        workers = -(-count // machines)  # on a machine
        cores = len(os.sched_getaffinity(0))  # as without Ray, which itself would allow one thread
        options = {**device, "max_restarts": MOST_RESTARTS, "max_task_retries": MOST_RESTARTS}
        spread = {"scheduling_strategy": "SPREAD", "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(cores)}}}
        extractor = ray.remote(Extractor).options(**options, **spread)
        settings = encoder, threads, network_threads(encoder.engine, workers)
        actors = [extractor.remote(*settings) for _ in range(count)]
        try:
            _hand_out(ray, actors, photos, receive)
        finally:
            for actor in actors:
                ray.kill(actor)


def _hand_out(ray: Any, actors: Sequence[Any], photos: Sequence[Photo], receive: Receive) -> None:
    """Lists of photos to actors, as they are done with others."""
    lists = iter([photos[start : start + _LIST_PHOTOS] for start in range(0, len(photos), _LIST_PHOTOS)])
    asked: Dict[Any, Tuple[Any, Sequence[Photo]]] = {}

    def ask(actor: Any) -> None:
        some = next(lists, None)
        if some is not None:
            asked[actor.encode.remote(some)] = actor, some

    for actor in [*actors] * _LISTS_AHEAD:
        ask(actor)
    while asked:
        for each in ray.wait(list(asked), num_returns=1)[0]:
            actor, some = asked.pop(each)
            ask(actor)
            for photo, result in answer_of(ray, each, f"extracts {some[0].path} to {some[-1].path}"):
                receive(photo, result)

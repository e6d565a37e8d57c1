"""What one may choose of the demo data set; nothing heavy is imported, so that ``--help`` is quick."""

from dataclasses import dataclass, field, fields
from typing import Any, Optional

from ..errors import UserError

# names of evaluation landmarks with a fitting archetype, in an order that mixes the archetypes
EVALUATION_LANDMARKS: tuple[tuple[str, str], ...] = (
    ("clock_tower", "clock_tower"),
    ("stone_bridge", "bridge"),
    ("market_hall", "arcade"),
    ("old_cathedral", "church"),
    ("city_gate", "arch"),
    ("royal_palace", "palace"),
    ("hill_castle", "castle"),
    ("canal_houses", "houses"),
    ("observatory", "dome"),
    ("sun_temple", "temple"),
    ("garden_pagoda", "pagoda"),
    ("town_hall", "palace"),
    ("twin_church", "church"),
    ("bell_tower", "clock_tower"),
    ("harbour_bridge", "bridge"),
    ("opera_house", "dome"),
    ("corn_exchange", "arcade"),
    ("merchant_row", "houses"),
    ("river_fort", "castle"),
    ("victory_arch", "arch"),
    ("museum_front", "temple"),
    ("lake_pagoda", "pagoda"),
    ("guild_houses", "houses"),
    ("parish_church", "church"),
    ("parliament", "palace"),
    ("fire_tower", "clock_tower"),
    ("mill_bridge", "bridge"),
    ("cloth_hall", "arcade"),
    ("capitol", "dome"),
    ("border_castle", "castle"),
    ("north_gate", "arch"),
    ("law_court", "temple"),
    ("tea_pagoda", "pagoda"),
    ("abbey", "church"),
    ("university", "palace"),
    ("library_dome", "dome"),
)


def _number(default: int, help_text: str, least: int, most: Optional[int] = None) -> Any:
    return field(default=default, metadata={"least": least, "most": most, "help": help_text})


@dataclass(frozen=True)
class DemoSettings:
    """All that decides the content of the data set; photo sizes are the long side in pixels."""

    seed: int = _number(0, "seed of every landmark and photo", 0)
    num_classes: int = _number(16, "landmarks to train on", 1, 10000)
    photos_per_class: int = _number(72, "clean photos of each of them", 1)
    num_eval_landmarks: int = _number(12, "landmarks to retrieve", 1, len(EVALUATION_LANDMARKS))
    photos_per_eval_landmark: int = _number(10, "photos of each of them", 2)
    queries_per_landmark: int = _number(3, "of those, queries", 1)
    num_distractors: int = _number(60, "photos of other buildings beside them", 0)
    train_photo_size: int = _number(112, "longer side of the photos to train on", 32, 2048)
    eval_photo_size: int = _number(144, "longer side of the other photos", 32, 2048)

    def check(self) -> None:
        """Raise a UserError for a number that makes no data set."""
        for setting in fields(self):
            value, least, most = getattr(self, setting.name), setting.metadata["least"], setting.metadata["most"]
            if value < least:
                raise UserError(f"`{setting.name}` is {value}: give {least} or more")
            if most is not None and value > most:
                raise UserError(f"`{setting.name}` is {value}: give {most} or less")
        good = evaluation_difficulties(self.photos_per_eval_landmark).count("good")
        if good <= self.queries_per_landmark:
            raise UserError(
                f"`photos_per_eval_landmark` {self.photos_per_eval_landmark} gives {good} clear "
                f"photos per landmark, too few for `queries_per_landmark` {self.queries_per_landmark}: "
                "raise the one or lower the other"
            )


def evaluation_difficulties(photos: int) -> list[str]:
    """Difficulties of an evaluation landmark's photos: about half good, 0.4 ok, 0.1 junk (hidden or tiny)."""
    junk, ok = int(0.1 * photos + 0.5), int(0.4 * photos + 0.5)
    return ["good"] * (photos - ok - junk) + ["ok"] * ok + ["hidden" if index % 2 else "tiny" for index in range(junk)]

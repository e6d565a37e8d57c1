"""Builders of palaces, houses, arcades, domed halls, bridges and clock towers."""

import numpy as np

from .elements import draw_column, draw_cornice, draw_door, draw_window
from .ornaments import draw_clock, draw_emblem, draw_frieze, draw_mosaic, draw_sign, draw_statue
from .outlines import opening, rectangle
from .roofs import draw_balustrade, draw_crown, draw_dome, draw_gable, draw_pitched_roof
from .style import BASE, CANVAS_WIDTH, Site
from .walls import Block, draw_facade, draw_wall

MIDDLE = CANVAS_WIDTH / 2


def build_palace(site: Site) -> None:
    """A long front: wings, a middle that stands out, a roof or a balustrade."""
    rng, crowns = site.rng, site.spec.crowns
    width, floors = float(rng.uniform(600, 760)), int(rng.integers(2, 4))
    height = float(rng.uniform(260, 340))
    wing = Block(MIDDLE - width / 2, BASE, width, height, floors, int(rng.integers(7, 12)))
    if rng.random() < 0.6:
        draw_pitched_roof(site, wing, float(rng.uniform(60, 100)), float(rng.uniform(0, 60)), int(rng.integers(0, 8)))
    else:
        draw_balustrade(site, wing.x, wing.top, width, 20, int(rng.integers(0, 8)))
    draw_facade(site, wing, (0, 1, 2))
    middle_width = float(rng.uniform(0.22, 0.36)) * width
    middle = Block(MIDDLE - middle_width / 2, BASE, middle_width, height + rng.uniform(15, 60), floors, 3)
    top = int(rng.integers(3))
    if top == 0:
        draw_gable(site, middle, float(rng.uniform(70, 110)), "pediment")
    elif top == 1:
        draw_dome(site, MIDDLE, middle.top, 0.4 * middle_width, str(rng.choice(["hemisphere", "pointed", "bell"])))
    else:
        draw_gable(site, middle, float(rng.uniform(80, 130)), str(rng.choice(["steps", "curve"])))
    draw_facade(site, middle, (2, 3, 1), keep_clear=40, second=rng.random() < 0.4)
    draw_door(site, MIDDLE, BASE, 52, 0.7 * height / floors, site.spec.windows[3])
    if rng.random() < 0.4:
        for x in (wing.x, wing.x + width - 90):
            pavilion = Block(x, BASE, 90, height + 30, floors, 1)
            draw_crown(site, pavilion, crowns[1])
            draw_facade(site, pavilion, (3, 0))


def build_houses(site: Site) -> None:
    """A row of narrow town houses, each with its own gable, height and windows."""
    rng = site.rng
    count = int(rng.integers(3, 6))
    widths = rng.uniform(0.8, 1.3, count)
    widths = widths / widths.sum() * float(rng.uniform(640, 800))
    left = MIDDLE - widths.sum() / 2
    for index, width in enumerate(widths):
        floors, height = int(rng.integers(3, 5)), float(rng.uniform(300, 420))
        house = Block(left, BASE, float(width), height, floors, int(rng.integers(2, 4)))
        shape = str(rng.choice(["triangle", "steps", "curve", "roof"]))
        if shape == "roof":
            draw_pitched_roof(site, house, float(rng.uniform(60, 100)), 0.1 * width, int(rng.integers(1, 3)))
        else:
            draw_gable(site, house, float(rng.uniform(90, 160)), shape)
        draw_facade(site, house, (index, index + 1, index + 2), keep_clear=width, second=index % 2 == 1)
        low = BASE - 0.1 * height
        draw_door(
            site,
            left + width * (0.28 if index % 2 else 0.7),
            BASE,
            0.22 * width,
            0.17 * height,
            site.spec.windows[index % 4],
        )
        shop = left + width * (0.48 if index % 2 else 0.08)
        draw_window(site, shop, low - 0.06 * height, 0.42 * width, 0.13 * height, site.spec.windows[(index + 1) % 4])
        if rng.random() < 0.6:
            draw_sign(site, left + 0.08 * width, BASE - height / floors + 8, 0.84 * width, 20)
        left += width


def _draw_open_arcade(site: Site, block: Block) -> None:
    """The ground floor of a hall: dark arches between columns."""
    draw_wall(site, block)
    head = str(site.rng.choice(["round", "pointed", "segmental", "ogee"]))
    bay, height = block.width / block.bays, block.height
    for index in range(block.bays):
        x = block.x + index * bay
        ring = opening(head, x + 0.07 * bay, BASE - 0.92 * height, 0.86 * bay, 0.92 * height)
        site.painter.fill(ring, site.trim)
        hole = opening(head, x + 0.14 * bay, BASE - 0.84 * height, 0.72 * bay, 0.84 * height)
        site.painter.fill(hole, (46, 42, 40))
        draw_column(site, x, BASE - 0.5 * height, BASE, 14, "round")
    draw_column(site, block.x + block.width, BASE - 0.5 * height, BASE, 14, "round")


def build_arcade(site: Site) -> None:
    """A hall over an open arcade, with a bell turret or a clock gable."""
    rng = site.rng
    width, upper = float(rng.uniform(560, 720)), float(rng.uniform(190, 240))
    lower, bays = float(rng.uniform(120, 160)), int(rng.integers(5, 9))
    left, floors = MIDDLE - width / 2, int(rng.integers(1, 3))
    hall = Block(left, BASE - lower, width, upper, floors, bays * int(rng.integers(1, 3)))
    turret_left = MIDDLE - 45 + float(rng.uniform(-0.25, 0.25)) * width
    turret = Block(turret_left, hall.top, 90, float(rng.uniform(130, 190)), 1, 1)
    slope, inset = float(rng.uniform(70, 120)), float(rng.uniform(0, 80))
    draw_pitched_roof(site, hall, slope, inset, int(rng.integers(2, 7)))
    draw_crown(site, turret, site.spec.crowns[0])
    draw_facade(site, turret, (3,))
    draw_clock(site, turret.centre, turret.top + 0.3 * turret.height, 26)
    _draw_open_arcade(site, Block(left, BASE, width, lower, 1, bays))
    draw_facade(site, hall, (0, 1))
    if abs(turret.centre - MIDDLE) > 110:
        wide = float(rng.uniform(130, 200))
        gable = Block(MIDDLE - wide / 2, hall.top + 4, wide, 30, 1, 1)
        shape = str(rng.choice(["steps", "curve", "triangle"]))
        draw_gable(site, gable, float(rng.uniform(90, 130)), shape)


def _draw_porch(site: Site, height: float) -> None:
    """A columned porch with a pediment, in the middle of the canvas."""
    rng, spec = site.rng, site.spec
    width = float(rng.uniform(180, 260))
    porch = Block(MIDDLE - width / 2, BASE, width, 0.86 * height, 1, 1)
    draw_wall(site, porch, site.second_wall)
    draw_door(site, MIDDLE, BASE, 46, 0.5 * height, spec.windows[2])
    for x in np.linspace(porch.x + 10, porch.x + width - 10, 2 * int(rng.integers(2, 4))):
        draw_column(site, float(x), porch.top + 8, BASE, 17, "round")
    draw_gable(site, porch, float(rng.uniform(60, 90)), "pediment")
    draw_frieze(site, porch.x, porch.top, width, 14, spec.motifs[1])


def build_dome(site: Site) -> None:
    """A domed hall on a drum, with a columned porch and side wings."""
    rng = site.rng
    width, height = float(rng.uniform(540, 720)), float(rng.uniform(200, 270))
    floors, bays = int(rng.integers(1, 3)), int(rng.integers(6, 11))
    body = Block(MIDDLE - width / 2, BASE, width, height, floors, bays)
    wide, tall = float(rng.uniform(180, 290)), float(rng.uniform(60, 110))
    drum = Block(MIDDLE - wide / 2, body.top + 4, wide, tall, 1, int(rng.integers(5, 9)))
    draw_dome(site, MIDDLE, drum.top, 0.48 * wide, str(rng.choice(["hemisphere", "pointed", "onion"])))
    draw_facade(site, drum, (1,))
    site.painter.roll_shade(rectangle(drum.x, drum.top, wide, tall), 0.5)
    draw_balustrade(site, body.x, body.top, width, 18, int(rng.integers(0, 7)))
    draw_facade(site, body, (0, 2))
    if rng.random() < 0.6:
        for x in (body.x + 10, body.x + width - 80):
            turret = Block(x, body.top, 70, float(rng.uniform(60, 90)), 1, 1)
            draw_crown(site, turret, site.spec.crowns[1])
            draw_facade(site, turret, (3,))
    _draw_porch(site, height)


def build_bridge(site: Site) -> None:
    """A bridge of arches with towers or houses on it."""
    rng, painter, spec = site.rng, site.painter, site.spec
    width, deck, count = 840.0, BASE - float(rng.uniform(170, 230)), int(rng.integers(3, 7))
    left, span = MIDDLE - width / 2, width / count
    for share in sorted(rng.choice(np.arange(count + 1), int(rng.integers(1, 4)), replace=False) / count):
        tower_width = float(rng.uniform(90, 130))
        x = float(np.clip(left + share * width - tower_width / 2, left, left + width - tower_width))
        tower = Block(x, deck + 5, tower_width, float(rng.uniform(150, 260)), int(rng.integers(2, 4)), 1)
        draw_crown(site, tower, spec.crowns[int(rng.integers(3))])
        draw_facade(site, tower, (0, 1, 2), keep_clear=30)
        painter.fill(opening("round", tower.centre - 24, deck - 62, 48, 62), (44, 40, 40))
    draw_wall(site, Block(left, BASE, width, BASE - deck, 1, 1))
    head = str(rng.choice(["round", "segmental", "pointed"]))
    for index in range(count):
        x, clear = left + (index + 0.12) * span, 0.76 * span
        top = deck + float(36 if count > 4 else 30)
        painter.fill(opening(head, x - 9, top - 9, clear + 18, BASE - top + 9), site.trim)
        painter.erase(opening(head, x, top, clear, BASE - top))
        pier = left + index * span
        painter.fill(
            np.array([(pier - 14, BASE), (pier - 8, deck + 60), (pier + 8, deck + 60), (pier + 14, BASE)]),
            site.second_wall,
        )
        if index:
            draw_emblem(site, pier, deck + 34, 17)
    draw_frieze(site, left, deck - 4, width, 13, spec.motifs[0])
    draw_balustrade(site, left, deck - 4, width, 22)
    for index in range(1, 2 * count):
        if rng.random() < 0.55:
            draw_statue(site, left + index * span / 2, deck - 20, 60)


def build_clock_tower(site: Site) -> None:
    """A tall tower with a clock, over a low hall."""
    rng, spec = site.rng, site.spec
    hall_width, hall_height = float(rng.uniform(380, 620)), float(rng.uniform(120, 190))
    shift = float(rng.choice([-0.3, 0.0, 0.3])) * hall_width
    hall = Block(
        MIDDLE - hall_width / 2 - shift / 2,
        BASE,
        hall_width,
        hall_height,
        int(rng.integers(1, 3)),
        int(rng.integers(4, 8)),
    )
    draw_pitched_roof(site, hall, float(rng.uniform(50, 90)), float(rng.uniform(0, 50)), int(rng.integers(0, 5)))
    draw_facade(site, hall, (0, 1))
    width, height = float(rng.uniform(120, 170)), float(rng.uniform(400, 450))
    tower = Block(MIDDLE + shift / 2 - width / 2, BASE, width, height, int(rng.integers(4, 6)), int(rng.integers(1, 3)))
    draw_crown(site, tower, spec.crowns[0])
    draw_facade(site, tower, (0, 1, 2, 3), keep_clear=40, second=rng.random() < 0.5)
    stage = height / tower.floors
    site.painter.box(tower.x + 6, tower.top + 24, width - 12, 0.9 * stage + 10, site.trim)
    draw_clock(site, tower.centre, tower.top + 30 + 0.45 * stage, min(0.42 * stage, 0.36 * width))
    draw_cornice(site, tower.x, tower.top + 36 + 0.9 * stage, width, 9)
    draw_mosaic(site, tower.centre - 0.3 * width, BASE - 2 * stage + 14, 0.6 * width, 0.55 * stage)
    draw_door(site, tower.centre, BASE, 0.36 * width, 0.72 * stage, spec.windows[1])

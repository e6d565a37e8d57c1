"""Builders of churches, castles, arches, temples and pagodas. Each paints on the site's canvas."""

import numpy as np

from .elements import draw_column, draw_cornice, draw_door, draw_window
from .ornaments import draw_emblem, draw_frieze, draw_mosaic, draw_panel, draw_rose, draw_statue
from .outlines import opening
from .roofs import draw_battlements, draw_crown, draw_gable, draw_pitched_roof
from .style import BASE, CANVAS_WIDTH, Site
from .walls import Block, draw_facade, draw_wall

MIDDLE = CANVAS_WIDTH / 2


def build_church(site: Site) -> None:
    """A nave front with a rose window, a portal and one or two towers."""
    rng, spec = site.rng, site.spec
    nave_width, nave_height = float(rng.uniform(220, 300)), float(rng.uniform(250, 320))
    nave = Block(MIDDLE - nave_width / 2, BASE, nave_width, nave_height, 1, 1)
    aisle = Block(MIDDLE - nave_width, BASE, 2 * nave_width, 0.55 * nave_height, 1, int(rng.integers(6, 9)))
    draw_pitched_roof(site, aisle, 60, 90, 0)
    draw_facade(site, aisle, (1,))
    sides = ((-1,), (1,), (-1, 1), (-1, 1))[int(rng.integers(4))]
    for side in sides:
        width = float(rng.uniform(100, 135))
        centre = MIDDLE + side * (nave_width / 2 + 0.42 * width)
        tower = Block(
            centre - width / 2,
            BASE,
            width,
            float(rng.uniform(350, 430)),
            int(rng.integers(3, 6)),
            int(rng.integers(1, 3)),
        )
        draw_crown(site, tower, spec.crowns[0])
        draw_facade(site, tower, (2, 0, 3))
    draw_gable(site, nave, float(rng.uniform(90, 150)), str(rng.choice(["triangle", "steps", "curve"])))
    draw_wall(site, nave, site.second_wall if rng.random() < 0.4 else None)
    draw_frieze(site, nave.x, nave.top + 6, nave_width, 15, spec.motifs[0])
    draw_rose(site, MIDDLE, nave.top + 0.34 * nave_height, float(rng.uniform(0.17, 0.23)) * nave_width)
    style = spec.windows[0]
    for side in (-1, 1):
        draw_window(
            site,
            MIDDLE + side * 0.36 * nave_width - 14,
            nave.top + 0.2 * nave_height,
            28,
            0.34 * nave_height,
            style,
        )
        draw_statue(site, MIDDLE + side * 0.36 * nave_width, BASE - 18, 0.3 * nave_height)
    draw_frieze(site, nave.x, nave.top + 0.56 * nave_height, nave_width, 13, spec.motifs[1])
    draw_door(site, MIDDLE, BASE, 0.26 * nave_width, 0.36 * nave_height, spec.windows[2])


def _draw_castle_towers(site: Site, curtain: Block) -> None:
    """Round towers along a curtain wall, each with its own height and crown."""
    rng, spec = site.rng, site.spec
    for index, share in enumerate(np.linspace(0.06, 0.94, int(rng.integers(2, 5)))):
        wide, tall = float(rng.uniform(76, 120)), curtain.height + float(rng.uniform(40, 150))
        left = curtain.x + share * curtain.width - wide / 2
        tower = Block(left, BASE, wide, tall, int(rng.integers(3, 5)), 1)
        draw_crown(site, tower, ("battlements", "cap", "pyramid", "spire")[int(rng.integers(4))])
        draw_wall(site, tower, round_shape=True)
        for floor in range(tower.floors):
            level = tower.top + (floor + 0.3) * tower.height / tower.floors
            draw_window(site, tower.centre - 11, level, 22, 40, spec.windows[(index + floor) % 4])
        draw_frieze(site, tower.x, tower.top + 4, wide, 14, spec.motifs[index % 3])


def build_castle(site: Site) -> None:
    """A curtain wall with a gate and crenellated or roofed towers of different height."""
    rng, spec = site.rng, site.spec
    width, height = float(rng.uniform(640, 800)), float(rng.uniform(150, 210))
    keep_width, shift = float(rng.uniform(220, 320)), float(rng.uniform(-0.2, 0.2)) * width
    keep = Block(MIDDLE + shift - keep_width / 2, BASE, keep_width, float(rng.uniform(300, 380)), 4, 4)
    if rng.random() < 0.5:
        draw_pitched_roof(site, keep, float(rng.uniform(60, 100)), 40, 3)
    else:
        draw_battlements(site, keep.x, keep.top, keep_width, 20)
    draw_facade(site, keep, (0, 1, 2), second=True)
    curtain = Block(MIDDLE - width / 2, BASE, width, height, 1, 1)
    draw_battlements(site, curtain.x, curtain.top, width, 17)
    draw_wall(site, curtain)
    for x in rng.uniform(curtain.x + 60, curtain.x + width - 60, 5):
        site.painter.box(float(x), curtain.top + 0.3 * height, 7, 34, (40, 36, 34))
    _draw_castle_towers(site, curtain)
    gate = curtain.x + float(rng.uniform(0.3, 0.7)) * width
    draw_facade(site, Block(gate - 60, BASE, 120, height + 40, 2, 2), (3, 3), keep_clear=60)
    draw_battlements(site, gate - 60, BASE - height - 40, 120, 15)
    draw_door(site, gate, BASE, 56, 0.5 * height, spec.windows[0])
    draw_emblem(site, gate, BASE - 0.5 * height - 42, 24)


def _draw_arch_openings(site: Site, width: float, height: float) -> bool:
    """Cut one passage, or three, through an arch; tells whether there are side passages."""
    rng, painter = site.rng, site.painter
    head = str(rng.choice(["round", "round", "pointed", "segmental"]))
    wide, tall = float(rng.uniform(0.26, 0.36)) * width, float(rng.uniform(0.6, 0.68)) * height
    openings = [(MIDDLE, wide, tall)]
    side_arches = bool(rng.random() < 0.5)
    if side_arches:
        openings += [(MIDDLE + side * 0.34 * width, 0.4 * wide, 0.55 * tall) for side in (-1, 1)]
    for cx, clear, rise in openings:
        painter.fill(opening(head, cx - clear / 2 - 12, BASE - rise - 12, clear + 24, rise + 12), site.trim)
        painter.shade(opening(head, cx - clear / 2 - 4, BASE - rise - 4, clear + 8, rise + 4), 0.7)
        painter.erase(opening(head, cx - clear / 2, BASE - rise, clear, rise))
    return side_arches


def build_arch(site: Site) -> None:
    """A triumphal arch or town gate with reliefs, columns and figures."""
    rng, spec = site.rng, site.spec
    width, height = float(rng.uniform(420, 600)), float(rng.uniform(340, 420))
    body = Block(MIDDLE - width / 2, BASE, width, height, 1, 1)
    draw_wall(site, body)
    attic, columns = float(rng.uniform(0.2, 0.3)) * height, spec.pilasters.replace("none", "round")
    side_arches = _draw_arch_openings(site, width, height)
    for side in (-1, 1):
        cx = MIDDLE + side * 0.34 * width
        draw_panel(site, cx, BASE - 0.62 * height, 0.2 * width, 0.2 * height)
        if not side_arches:
            draw_mosaic(site, cx - 0.08 * width, BASE - 0.34 * height, 0.16 * width, 0.22 * height)
        for offset in (-0.13, 0.13):
            draw_column(site, cx + offset * width, body.top + attic + 10, BASE, 20, columns)
    draw_frieze(site, body.x, body.top + attic - 12, width, 20, spec.motifs[0])
    draw_cornice(site, body.x, body.top + attic - 26, width, 15)
    for share in np.linspace(0.12, 0.88, int(rng.integers(3, 6))):
        draw_panel(site, body.x + share * width, body.top + 0.45 * attic, 0.15 * width, 0.6 * attic)
    draw_cornice(site, body.x, body.top - 6, width, 16)
    if rng.random() < 0.5:
        draw_gable(site, Block(MIDDLE - 0.3 * width, BASE, 0.6 * width, height + 6, 1, 1), 70, "pediment")
    for share in np.linspace(0.1, 0.9, int(rng.integers(2, 6))):
        draw_statue(site, body.x + share * width, body.top - 6, 70)


def build_temple(site: Site) -> None:
    """A columned front on steps, with a carved pediment and side wings."""
    rng, painter, spec = site.rng, site.painter, site.spec
    width, height = float(rng.uniform(440, 600)), float(rng.uniform(230, 290))
    for step in range(5):
        painter.box(MIDDLE - width / 2 - 50 + step * 9, BASE - 9 * (step + 1), width + 100 - 18 * step, 9, site.trim)
        painter.shade_box(MIDDLE - width / 2 - 50 + step * 9, BASE - 9 * step - 3, width + 100 - 18 * step, 3, 0.7)
    base = BASE - 45.0
    wings = rng.random() < 0.6
    if wings:
        draw_facade(site, Block(MIDDLE - width / 2 - 110, BASE, width + 220, 0.7 * height, 1, 11), (0,))
    cella = Block(MIDDLE - width / 2, base, width, height, 2, 5)
    draw_wall(site, cella, site.second_wall)
    for index in (0, 1, 3, 4):
        cx = cella.x + (index + 0.5) * width / 5
        draw_window(site, cx - 20, base - 0.5 * height, 40, 0.36 * height, spec.windows[index % 2])
        draw_panel(site, cx, base - 0.72 * height, 60, 54)
    draw_door(site, MIDDLE, base, 62, 0.55 * height, spec.windows[2])
    painter.shade_box(cella.x, cella.top, width, height, 0.72)
    kind = "fluted" if rng.random() < 0.5 else "round"
    for x in np.linspace(cella.x + 16, cella.x + width - 16, int(rng.integers(4, 9))):
        draw_column(site, float(x), cella.top + 6, base, float(rng.uniform(20, 21)) + 4 * (spec.seed % 3), kind)
    draw_frieze(site, cella.x - 8, cella.top - 22, width + 16, 26, spec.motifs[0])
    draw_cornice(site, cella.x - 8, cella.top - 34, width + 16, 14)
    front = Block(cella.x - 8, base, width + 16, height + 34, 1, 1)
    rise = float(rng.uniform(80, 130))
    draw_gable(site, front, rise, "pediment")
    for share in (0.25, 0.37, 0.63, 0.75):
        draw_statue(site, front.x + share * front.width, front.top - 4, 0.32 * rise)
    draw_statue(site, MIDDLE, front.top - rise, 56)


def _draw_storey(site: Site, stage: Block, number: int) -> None:
    """One storey of a pagoda: columns with windows and ornaments between them; number 0 has the door."""
    spec, bay = site.spec, (stage.width - 16) / stage.bays
    columns, wide = spec.pilasters.replace("none", "round"), 0.5 * stage.width / stage.bays
    draw_wall(site, stage, site.second_wall if number % 2 else None)
    for index in range(stage.bays + 1):
        x = stage.x + 8 + index * bay
        draw_column(site, x, stage.top + 8, stage.base, 9, columns)
        middle = x + bay / 2
        if index == stage.bays or (number == 0 and abs(middle - MIDDLE) < 40):
            continue
        if (index + number + spec.seed) % 4 == 0:
            draw_panel(site, middle, stage.base - stage.height / 2 + 6, wide * 1.2, 0.6 * stage.height)
        else:
            top, style = stage.top + 0.32 * stage.height, spec.windows[number % 4]
            draw_window(site, middle - wide / 2, top, wide, 0.5 * stage.height, style)
    draw_frieze(site, stage.x, stage.top + 4, stage.width, 13, spec.motifs[number % 3])
    if number == 0:
        draw_door(site, MIDDLE, stage.base, 50, 0.62 * stage.height, spec.windows[3])


def _draw_curved_roof(site: Site, stage: Block, top_width: float, height: float, flare: float) -> None:
    """A wide roof whose eaves turn up by ``flare`` pixels at the ends."""
    painter, t = site.painter, np.linspace(-1, 1, 31)
    eaves = np.stack([MIDDLE + t * (stage.width / 2 + 44), stage.top + 10 - flare * t**4], axis=1)
    ridge = np.stack([MIDDLE - t * top_width / 2, np.full(31, stage.top - height)], axis=1)
    painter.fill(np.concatenate([eaves, ridge]), site.roof)
    for first, last in zip(eaves[:-1], eaves[1:]):
        painter.line(tuple(first), tuple(last), 6, site.spec.palette.accent)
    inner = (eaves * (0.88, 1) + (0.12 * MIDDLE, 16))[::-1]
    painter.shade(np.concatenate([eaves + (0, 4), inner]), 0.6)


def build_pagoda(site: Site) -> None:
    """A tower of storeys that shrink upwards under wide curved roofs."""
    rng = site.rng
    storeys = int(rng.integers(3, 6))
    width, base = float(rng.uniform(340, 480)), float(BASE)
    shrink, flare = float(rng.uniform(0.74, 0.86)), float(rng.uniform(10, 26))
    for storey in range(storeys):
        height = 380 / storeys * (1.1 - 0.05 * storey)
        stage = Block(MIDDLE - width / 2, base, width, 0.83 * height, 1, max(2, int(width / 70)))
        _draw_storey(site, stage, storey)
        _draw_curved_roof(site, stage, shrink * width, 0.42 * height, flare)
        base, width = stage.top - 0.42 * height + 2, width * shrink
    top = Block(MIDDLE - 0.3 * width, base, 0.6 * width, 12, 1, 1)
    draw_crown(site, top, "spire" if rng.random() < 0.5 else "pyramid")

"""What makes one building different from another: its specification, drawn from a seed."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .canvas import Paint, Painter
from .outlines import OPENING_KINDS
from .palette import Palette, choose_palette
from .textures import ROOF_KINDS, WALL_KINDS, plain_texture, roof_texture, wall_texture

CANVAS_WIDTH, CANVAS_HEIGHT, BASE = 900, 700, 684  # pixels; the building stands on the line y = BASE

ARCHETYPES = (
    "palace",
    "church",
    "clock_tower",
    "dome",
    "bridge",
    "houses",
    "castle",
    "arch",
    "temple",
    "pagoda",
    "arcade",
)
HOODS = ("none", "triangle", "cornice", "keystone", "curve", "voussoirs")
MOTIFS = ("dentils", "triangles", "diamonds", "discs", "arches", "waves", "key", "lattice")
CROWNS = ("spire", "dome", "onion", "pyramid", "battlements", "lantern", "bell", "cap")


@dataclass(frozen=True)
class WindowStyle:
    """One window design; ``columns`` and ``rows`` count its panes, ``width`` is its share of the bay."""

    head: str
    width: float
    height: float
    columns: int
    rows: int
    bars: str
    surround: float
    hood: str
    shutters: bool
    balcony: bool
    twin: bool


@dataclass(frozen=True)
class LandmarkSpec:
    """All that is needed to draw one landmark; equal specs give equal pictures."""

    seed: int
    archetype: str
    palette: Palette
    wall: str
    second_wall: str
    roof: str
    windows: tuple[WindowStyle, ...]
    motifs: tuple[str, ...]
    crowns: tuple[str, ...]
    pilasters: str
    quoins: bool
    timber: bool


@dataclass(frozen=True)
class Site:
    """A building under construction: where to paint, with what, and its stream of structural choices."""

    painter: Painter
    spec: LandmarkSpec
    wall: Paint
    second_wall: Paint
    trim: Paint
    roof: Paint
    rng: np.random.Generator


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def draw_window_style(rng: np.random.Generator) -> WindowStyle:
    """Draw one window design."""
    return WindowStyle(
        head=_pick(rng, OPENING_KINDS),
        width=float(rng.uniform(0.36, 0.68)),
        height=float(rng.uniform(0.52, 0.76)),
        columns=int(rng.integers(1, 5)),
        rows=int(rng.integers(1, 7)),
        bars=_pick(rng, ("grid", "grid", "lattice", "cross", "fan")),
        surround=float(rng.choice([0.0, 2.5, 4.0, 6.5])),
        hood=_pick(rng, HOODS),
        shutters=bool(rng.random() < 0.2),
        balcony=bool(rng.random() < 0.18),
        twin=bool(rng.random() < 0.2),
    )


def draw_spec(seed: int, archetype: str = "") -> LandmarkSpec:
    """Draw the specification that ``seed`` stands for, of the given archetype or of a drawn one."""
    rng = np.random.default_rng([seed, 1])
    drawn = _pick(rng, ARCHETYPES)
    return LandmarkSpec(
        seed=seed,
        archetype=archetype or drawn,
        palette=choose_palette(rng),
        wall=_pick(rng, WALL_KINDS),
        second_wall=_pick(rng, WALL_KINDS),
        roof=_pick(rng, ROOF_KINDS),
        windows=tuple(draw_window_style(rng) for _ in range(4)),
        motifs=tuple(_pick(rng, MOTIFS) for _ in range(3)),
        crowns=tuple(_pick(rng, CROWNS) for _ in range(3)),
        pilasters=_pick(rng, ("none", "none", "flat", "fluted", "round")),
        quoins=bool(rng.random() < 0.4),
        timber=bool(rng.random() < 0.25),
    )


@lru_cache(maxsize=1)  # the same landmark is drawn under light from the left, then from the right
def _surfaces(spec: LandmarkSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Textures of the canvas size: wall, second wall, trim and roof."""
    shape = (CANVAS_HEIGHT, CANVAS_WIDTH)
    rng = np.random.default_rng([spec.seed, 2])
    colours = spec.palette
    return (
        wall_texture(spec.wall, colours.wall, colours.second_wall, shape, rng),
        wall_texture(spec.second_wall, colours.second_wall, colours.trim, shape, rng),
        plain_texture(colours.trim, shape, rng),
        roof_texture(spec.roof, colours.roof, shape, rng),
    )


def open_site(spec: LandmarkSpec, light: int) -> Site:
    """Prepare the canvas and the surfaces of a landmark; ``light`` is the sun's side, -1 or 1."""
    painter = Painter(CANVAS_WIDTH, CANVAS_HEIGHT, light)
    return Site(painter, spec, *_surfaces(spec), np.random.default_rng([spec.seed, 3]))

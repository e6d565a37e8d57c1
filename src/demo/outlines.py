"""Polygons of openings, gables and domes: (N, 2) float64 points (x, y) in pixels, y downwards."""

import numpy as np

# name -> (rise as a part of the width, height profile over t in [-1, 1], 0 at the sides and 1 at the top)
_PROFILES = {
    "flat": (0.0, np.ones_like),
    "round": (0.5, lambda t: np.sqrt(np.maximum(0.0, 1 - t * t))),
    "segmental": (0.18, lambda t: 1 - t * t),
    "pointed": (0.87, lambda t: (np.sqrt(4 - (1 + np.abs(t)) ** 2)) / np.sqrt(3.0)),
    "ogee": (
        0.8,
        lambda t: np.where(np.abs(t) < 0.35, 1 - 1.2 * np.abs(t), 0.72 * np.sqrt(1 - t * t) / 0.93),
    ),
    "triangle": (0.45, lambda t: 1 - np.abs(t)),
    "shouldered": (0.22, lambda t: (np.abs(t) < 0.62).astype(np.float64)),
}
OPENING_KINDS = tuple(_PROFILES)


def rectangle(x: float, y: float, width: float, height: float) -> np.ndarray:
    """Rectangle with top-left corner (x, y)."""
    return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], dtype=np.float64)


def opening_rise(kind: str, width: float, height: float) -> float:
    """Height in pixels of the curved head of an opening; the head is part of ``height``."""
    return min(_PROFILES[kind][0] * width, 0.6 * height)


def opening_top(kind: str, y: float, width: float, height: float, t: float) -> float:
    """The y of the upper edge at ``t``, -1 being the left side and 1 the right one."""
    rise = opening_rise(kind, width, height)
    return float(y + rise * (1 - _PROFILES[kind][1](np.array([t]))[0]))


def opening(kind: str, x: float, y: float, width: float, height: float) -> np.ndarray:
    """Outline of a window or door of the given head ``kind`` in the box (x, y, width, height)."""
    if kind == "flat":
        return rectangle(x, y, width, height)
    t = np.linspace(-1, 1, 25)
    rise = opening_rise(kind, width, height)
    head = np.stack([x + (t + 1) / 2 * width, y + rise * (1 - _PROFILES[kind][1](t))], axis=1)
    return np.concatenate([[(x, y + height)], head, [(x + width, y + height)]])


def ellipse(cx: float, cy: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> np.ndarray:
    """Points of an ellipse (or a part of it, in degrees; 180 to 360 is the upper half)."""
    angles = np.deg2rad(np.linspace(start, end, 41))
    return np.stack([cx + rx * np.cos(angles), cy + ry * np.sin(angles)], axis=1)


def star(cx: float, cy: float, outer: float, inner: float, points: int, turn: float = 0.0) -> np.ndarray:
    """A star with ``points`` tips, turned by ``turn`` radians from upright."""
    angles = np.arange(2 * points) * np.pi / points - np.pi / 2 + turn
    radii = np.where(np.arange(2 * points) % 2 == 0, outer, inner)
    return np.stack([cx + radii * np.cos(angles), cy + radii * np.sin(angles)], axis=1)


def stepped_gable(x: float, y: float, width: float, height: float, steps: int) -> np.ndarray:
    """A crow-stepped gable standing on the line y + height."""
    left = []
    for step in range(steps):
        level = y + height * (1 - (step + 1) / steps)
        left += [
            (x + width * 0.44 * step / steps, level + height / steps),
            (x + width * 0.44 * step / steps, level),
        ]
    right = [(2 * x + width - px, py) for px, py in reversed(left)]
    return np.array(left + right, dtype=np.float64)


def curved_gable(x: float, y: float, width: float, height: float, waist: float) -> np.ndarray:
    """A bell-shaped gable; ``waist`` in (0.2, 0.7) is how narrow it is half way up."""
    t = np.linspace(0, 1, 21)
    half = width / 2 * ((1 - t) * (1 - waist * np.sin(np.pi * t) ** 2) * 0.85 + 0.15 * np.sqrt(1 - t * t))
    left = np.stack([x + width / 2 - half, y + height * (1 - t)], axis=1)
    right = np.stack([x + width / 2 + half, y + height * (1 - t)], axis=1)[::-1]
    return np.concatenate([left, right])


def dome(kind: str, cx: float, base: float, radius: float, height: float) -> np.ndarray:
    """Outline of a dome ("hemisphere", "pointed", "onion" or "bell") standing on y = ``base``."""
    t = np.linspace(0, 1, 25)
    half = {
        "hemisphere": np.sqrt(1 - t * t),
        "pointed": np.sqrt(1 - t) * (1 + 0.35 * t),
        "onion": (0.8 + 1.5 * t * (1 - t)) * (1 - t**3) ** 1.4,
        "bell": (1 - t) ** 1.6 * 0.75 + 0.25 * np.sqrt(1 - t * t),
    }[kind]
    left = np.stack([cx - radius * half, base - height * t], axis=1)
    right = np.stack([cx + radius * half, base - height * t], axis=1)[::-1]
    return np.concatenate([left, right])

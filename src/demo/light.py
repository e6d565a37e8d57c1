"""Light, colour, blur and noise of a photo. Pictures are (height, width, 3) float32 RGB, 0..1."""

from dataclasses import dataclass

import cv2
import numpy as np

from .textures import noise

_LUMA = np.array([0.3, 0.59, 0.11])


def three_channels(mask: np.ndarray) -> np.ndarray:
    """A (height, width) mask as (height, width, 3) float32; NumPy broadcasts a last axis slowly."""
    mask = np.ascontiguousarray(mask, dtype=np.float32)
    return cv2.merge([mask, mask, mask])


@dataclass(frozen=True)
class Exposure:
    """How a photo is exposed and developed; lengths are in pixels of the finished photo."""

    stops: float
    temperature: float
    saturation: float
    contrast: float
    gamma: float
    shadow: float
    cast_shadow: float
    vignette: float
    defocus: float
    motion: float
    noise: float
    jpeg_quality: int


def draw_exposure(rng: np.random.Generator, strength: float) -> Exposure:
    """Draw an exposure; ``strength`` 1 gives the full range of light and faults, 0 none."""
    blur = rng.random()
    return Exposure(
        stops=float(rng.uniform(-0.85, 0.7)) * strength,
        temperature=float(rng.uniform(-0.55, 0.55)) * strength,
        saturation=float(1 + rng.uniform(-0.75, 0.5) * strength) if rng.random() > 0.06 else 0.0,
        contrast=float(2.0 ** (rng.uniform(-0.6, 0.7) * strength)),
        gamma=float(2.0 ** (rng.uniform(-0.6, 0.6) * strength)),
        shadow=float(rng.uniform(0, 0.65)) * strength,
        cast_shadow=float(rng.uniform(0.3, 0.65)) * strength if rng.random() < 0.4 else 0.0,
        vignette=float(rng.uniform(0, 0.4)) * strength,
        defocus=float(rng.uniform(0, 1.1)) * strength if blur < 0.6 else 0.0,
        motion=float(rng.uniform(1.5, 4.0)) * strength if blur > 0.85 else 0.0,
        noise=float(rng.uniform(0.004, 0.045)) * strength,
        jpeg_quality=int(rng.integers(int(88 - 50 * strength), 96)),
    )


def _shadow_map(rng: np.random.Generator, exposure: Exposure, land: np.ndarray) -> np.ndarray:
    """Where less light falls: a gradient, a cast shadow on ``land``, darker corners; (height, width)."""
    shape = land.shape
    y, x = np.meshgrid(
        np.linspace(-1, 1, shape[0], dtype=np.float32),
        np.linspace(-1, 1, shape[1], dtype=np.float32),
        indexing="ij",
    )
    angle, edge_angle = rng.uniform(0, 2 * np.pi, 2)
    light = 1 - exposure.shadow * (0.5 + 0.5 * np.clip(x * np.cos(angle) + y * np.sin(angle), -1, 1))
    edge = x * np.cos(edge_angle) + y * np.sin(edge_angle) + 0.12 * noise(rng, shape, (shape[1] / 4, shape[0] / 4), 1)
    soft = 0.5 + 0.5 * np.tanh((edge - rng.uniform(-0.2, 0.6)) / rng.uniform(0.02, 0.16))
    light = light * (1 - exposure.cast_shadow * soft * land)
    return light * (1 - exposure.vignette * 0.5 * (x * x + y * y))


def expose(picture: np.ndarray, land: np.ndarray, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """Apply light and colour; ``land`` (height, width) is 0 where the sky shows. Values up to 1.2 stay."""
    picture = picture * three_channels(_shadow_map(rng, exposure, land))
    mean = np.array(cv2.mean(picture)[:3])
    metered = np.clip((0.45 / max(float(mean.mean()), 0.01)) ** 0.75, 0.7, 3.5)  # cameras brighten dark scenes
    warm = 2.0 ** (exposure.temperature * 0.5)
    gain = np.diag([warm, 1.0, 1.0 / warm]) * metered * 2.0**exposure.stops
    saturate = exposure.saturation * np.eye(3) + (1 - exposure.saturation) * np.tile(_LUMA, (3, 1))
    middle = float(_LUMA @ gain @ mean) * (1 - exposure.contrast)
    matrix = np.concatenate([exposure.contrast * saturate @ gain, np.full((3, 1), middle)], axis=1)
    return cv2.pow(np.clip(cv2.transform(picture, matrix.astype(np.float32)), 0, 1.2), exposure.gamma)


def blur(picture: np.ndarray, exposure: Exposure, rng: np.random.Generator, oversampling: int) -> np.ndarray:
    """Apply defocus and motion to a picture that is ``oversampling`` times the size of the finished photo."""
    if exposure.defocus > 0.15:
        picture = cv2.GaussianBlur(picture, (0, 0), exposure.defocus * oversampling)
    length = int(exposure.motion * oversampling) | 1
    if length >= 3:
        kernel = np.zeros((length, length), np.float32)
        angle, half = rng.uniform(0, np.pi), length // 2
        tip = (half * np.cos(angle), half * np.sin(angle))
        cv2.line(
            kernel,
            (round(half - tip[0]), round(half - tip[1])),
            (round(half + tip[0]), round(half + tip[1])),
            1.0,
        )
        picture = cv2.filter2D(picture, -1, kernel / kernel.sum())
    return picture


def sense(picture: np.ndarray, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """Add sensor noise, clip, and return uint8."""
    grain = rng.standard_normal(picture.shape).astype(np.float32) * exposure.noise
    return np.clip((picture + grain) * 255 + 0.5, 0, 255).astype(np.uint8)

"""Other light and worse cameras, by chance: nothing here moves a box."""

from __future__ import annotations

import cv2
import numpy as np

from reid_models.detection.scenes import U8


def relit(image: U8, rng: np.random.Generator, strength: float = 1.0) -> U8:
    """Other contrast, brightness, gamma and colour of light; `strength` 1 is as much as cameras differ."""
    table = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    table = table ** np.exp(rng.normal(0, 0.25 * strength))
    table = (table - 0.5) * np.exp(rng.normal(0, 0.2 * strength)) + 0.5 + rng.normal(0, 0.08 * strength)
    table = table * np.exp(rng.normal(0, 0.06 * strength, 3).astype(np.float32))
    lookup = np.clip(table * 255, 0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(image, lookup), np.uint8)


def recoloured(image: U8, rng: np.random.Generator) -> U8:
    """Another hue and saturation; at times none."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    saturation = 0.0 if rng.random() < 0.15 else rng.uniform(0.3, 1.7)
    mixed = cv2.addWeighted(image, saturation, np.repeat(grey, 3, axis=2), 1 - saturation, 0)
    return np.asarray(mixed, np.uint8)


def worn(image: U8, rng: np.random.Generator) -> U8:
    """What optics, sensor and compression do: less detail, motion, noise, JPEG; each at times."""
    height, width = image.shape[:2]
    if rng.random() < 0.25:
        scale = rng.uniform(0.35, 0.9)
        small = cv2.resize(image, (int(width * scale), int(height * scale)), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    if rng.random() < 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4)), np.uint8)
    if rng.random() < 0.25:
        noise = rng.normal(0, rng.uniform(2, 12), (height // 2, width // 2, 1)).astype(np.float32)
        spread = cv2.resize(noise, (width, height), interpolation=cv2.INTER_NEAREST)[..., None]
        image = np.clip(image + spread, 0, 255).astype(np.uint8)
    if rng.random() < 0.45:
        quality = int(rng.integers(20, 85))
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return image

"""Masks to measure: a wavy blob and a tree of vessels, each of its seed."""

from __future__ import annotations

import cv2
import numpy as np


def blob(side: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    waves = sum(rng.normal(0, 0.04) * np.cos(k * angles + rng.uniform(0, 6)) for k in range(2, 7))
    radius = side * (0.25 + 0.03 * rng.random()) * (1 + waves)
    centre = side * (0.5 + rng.uniform(-0.05, 0.05, 2))
    points = np.stack([centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles)], 1)
    canvas = np.zeros((side, side), np.uint8)
    cv2.fillPoly(canvas, [points.round().astype(np.int32)], 1)
    return canvas > 0


def vessel_tree(side: int, seed: int, shift: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    canvas = np.zeros((side, side), np.uint8)
    ends = [(side * 0.15, side * 0.5, angle, side / 110) for angle in np.linspace(-1.2, 1.2, 6)]
    while ends:
        x, y, angle, width = ends.pop()
        for _ in range(12):
            angle += rng.normal(0, 0.12)
            x2, y2 = x + side / 45 * np.cos(angle), y + side / 45 * np.sin(angle)
            start, end = (round(x) + shift, round(y)), (round(x2) + shift, round(y2))
            cv2.line(canvas, start, end, 1, max(round(width), 1))
            x, y = x2, y2
        if width > side / 600 and 0 < x < side and 0 < y < side:
            ends += [(x, y, angle + turn, width * 0.68) for turn in (-0.5, 0.45)]
    return canvas > 0


def as_drawn(truth: np.ndarray, seed: int) -> np.ndarray:
    """A truth as a good model draws it: here a pixel or two wider or narrower, there right, now and then a gap."""
    rng = np.random.default_rng(seed)
    noise = cv2.resize(rng.random((40, 40)).astype(np.float32), truth.shape[::-1], interpolation=cv2.INTER_CUBIC)
    values, kernel = truth.astype(np.uint8), np.ones((3, 3), np.uint8)
    wider, gone = noise > 0.6, noise < 0.12
    return np.where(wider, cv2.dilate(values, kernel), np.where(gone, 0, values)) > 0

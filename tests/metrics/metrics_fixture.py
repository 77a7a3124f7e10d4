"""Made labels and scores, of which something is known beforehand."""

import numpy as np


def cohort(n=400, seed=0, decimals=None):
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.4).astype(int)
    scores = 1 / (1 + np.exp(-generator.normal(1.2 * labels)))
    return labels, scores if decimals is None else np.round(scores, decimals)


def paired_cohort(n=120, seed=0, decimals=None):
    generator = np.random.default_rng(seed)
    labels = np.r_[[0, 0, 1, 1], (generator.random(n - 4) < 0.4)].astype(int)
    shared = generator.normal(labels)
    a, b = shared + generator.normal(0, 0.5, n), shared + generator.normal(0, 1.5, n)
    return (labels, a, b) if decimals is None else (labels, np.round(a, decimals), np.round(b, decimals))


def clustered_cohort(generator, patients):
    """Patients with 1 to 8 films; films of a patient share their label's risk and most of their score."""
    films = generator.integers(1, 9, patients)
    risk = generator.random(patients) < 0.4
    patient = np.repeat(np.arange(patients), films)
    labels = (generator.random(len(patient)) < np.where(risk, 0.85, 0.1)[patient]).astype(int)
    shared = generator.normal(0, 1, patients)
    scores = 1.0 * labels + shared[patient] + generator.normal(0, 0.6, len(patient))
    return labels, scores, patient


def calibrated_cohort(n=600, seed=0, slope=1.0, intercept=0.0):
    """Labels drawn from logit P = intercept + slope x logit(score)."""
    generator = np.random.default_rng(seed)
    odds = generator.normal(0, 1.2, n)
    labels = (generator.random(n) < 1 / (1 + np.exp(-(intercept + slope * odds)))).astype(int)
    return labels, 1 / (1 + np.exp(-odds))


def called_cohort(n=300, seed=0):
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.4).astype(int)
    return labels, 1 / (1 + np.exp(-generator.normal(1.5 * labels - 0.7)))

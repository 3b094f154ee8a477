"""Writes survey.json: what ppi_py says, and design-based estimates by their textbook sums.

Run: pip install ppi-python scipy && python tests/oracles/make_survey_golden.py && deno fmt tests/oracles
"""

import json
import pathlib
import platform

import numpy as np
from ppi_py import ppi_mean_ci, ppi_mean_pointestimate
from scipy.stats import norm

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(15)

powered = []
for n, N, noise, weighted in [(40, 500, 0.5, False), (25, 60, 3.0, False), (60, 400, 0.4, True)]:
    truth = (rng.uniform(size=n) < 0.7).astype(float)
    predicted = 1 / (1 + np.exp(-(2 * truth - 1 + noise * rng.normal(size=n))))
    hidden = (rng.uniform(size=N) < 0.7).astype(float)
    unlabelled = 1 / (1 + np.exp(-(2 * hidden - 1 + noise * rng.normal(size=N))))
    w = rng.uniform(1, 20, n) if weighted else None
    v = rng.uniform(1, 20, N) if weighted else None
    low, high = ppi_mean_ci(truth, predicted, unlabelled, alpha=0.05, w=w, w_unlabeled=v)
    powered.append({
        "truth": truth.tolist(), "predicted": predicted.tolist(), "unlabelled": unlabelled.tolist(),
        "weights": None if w is None else w.tolist(), "unlabelledWeights": None if v is None else v.tolist(),
        "value": float(np.ravel(ppi_mean_pointestimate(truth, predicted, unlabelled, w=w, w_unlabeled=v))[0]),
        "low": float(np.ravel(low)[0]), "high": float(np.ravel(high)[0]),
    })

pi = rng.uniform(0.05, 1, 30)
y = rng.normal(size=30)
w = 1 / pi
mean = (w * y).sum() / w.sum()
# Linearized: the total of u = (y - mean) / N̂ has Poisson's variance, (1 - π) (u / π)².
u = (y - mean) / w.sum()
design = {
    "values": y.tolist(), "probabilities": pi.tolist(), "mean": mean,
    "meanError": float(np.sqrt((30 / 29) * ((1 - pi) * (u / pi) ** 2).sum())),
    "total": (w * y).sum(), "totalError": float(np.sqrt(((1 - pi) / pi**2 * y**2).sum())),
}


def lang_reiczigel(k, n, k_se, n_se, k_sp, n_sp):
    """Formulas 14 to 16 of the paper, by counts."""
    z = norm.ppf(0.975)
    ap, se, sp = (k + z**2 / 2) / (n + z**2), (k_se + 1) / (n_se + 2), (k_sp + 1) / (n_sp + 2)
    prevalence = min(1, max(0, (ap + sp - 1) / (se + sp - 1)))
    vse, vsp = se * (1 - se) / (n_se + 2), sp * (1 - sp) / (n_sp + 2)
    shift = 2 * z**2 * (prevalence * vse - (1 - prevalence) * vsp)
    error = np.sqrt(ap * (1 - ap) / (n + z**2) + prevalence**2 * vse + (1 - prevalence) ** 2 * vsp) / (se + sp - 1)
    return max(0, prevalence + shift - z * error), min(1, prevalence + shift + z * error)


corrected = []
for counts in [(300, 1000, 90, 100, 80, 100), (3, 50, 12, 15, 28, 30), (49, 50, 39, 40, 35, 40)]:
    k, n, k_se, n_se, k_sp, n_sp = counts
    low, high = lang_reiczigel(*counts)
    value = (k / n + k_sp / n_sp - 1) / (k_se / n_se + k_sp / n_sp - 1)
    corrected.append({"counts": counts, "value": min(1, max(0, value)), "low": low, "high": high})

out = {
    "versions": {"python": platform.python_version(), "ppi-python": "0.2.3", "numpy": np.__version__},
    "powered": powered, "design": design, "corrected": corrected,
}
(HERE / "survey.json").write_text(json.dumps(out, indent=2))

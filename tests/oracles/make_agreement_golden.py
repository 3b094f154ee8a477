"""Writes agreement.json: what scikit-learn, krippendorff and statsmodels say of judges' scores.

Run: pip install scikit-learn krippendorff statsmodels && python tests/oracles/make_agreement_golden.py && deno fmt tests/oracles
"""

import json
import pathlib
import platform

import krippendorff
import numpy as np
import scipy
import sklearn
from scipy.stats import bootstrap, norm
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, cohen_kappa_score, recall_score, roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(6)


def delong(scores, y):
    """DeLong's components by their definition, pair by pair."""
    pos, neg = scores[y == 1], scores[y == 0]
    wins = (pos[:, None] > neg[None, :]) + 0.5 * (pos[:, None] == neg[None, :])
    return wins.mean(), wins.mean(axis=1), wins.mean(axis=0)


def covariance(a, b):
    return np.cov(a[1], b[1])[0, 1] / len(a[1]) + np.cov(a[2], b[2])[0, 1] / len(a[2])


cases = []
for n, tied in [(40, False), (300, True)]:
    y = (rng.uniform(size=n) < 0.6).astype(int)
    a = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * y - 0.7)))
    b = 1 / (1 + np.exp(-(rng.normal(size=n) + 0.8 * y)))
    if tied:
        a, b = np.round(a, 1), np.round(b, 1)
    A, B = delong(a, y), delong(b, y)
    assert abs(A[0] - roc_auc_score(y, a)) < 1e-12
    variance = covariance(A, A) + covariance(B, B) - 2 * covariance(A, B)
    platt = _SigmoidCalibration().fit(a, y)
    ridge = LogisticRegression(C=0.5, tol=1e-12, max_iter=10000).fit(np.c_[a, b], y)
    pa, pb = (a >= 0.5).astype(int), (b >= 0.5).astype(int)
    interval = bootstrap(
        (pa, y), cohen_kappa_score, paired=True, vectorized=False, n_resamples=4000, method="BCa", rng=rng
    ).confidence_interval
    at = np.linspace(0, 1, 23)
    cases.append({
        "y": y.tolist(), "a": a.tolist(), "b": b.tolist(),
        "auc": A[0], "aucError": covariance(A, A) ** 0.5,
        "difference": A[0] - B[0], "differenceError": variance**0.5,
        "pValue": 2 * norm.sf(abs(A[0] - B[0]) / variance**0.5),
        "kappa": cohen_kappa_score(pa, y), "kappaLow": interval.low, "kappaHigh": interval.high,
        "brier": brier_score_loss(y, a),
        "tpr": recall_score(y, pa), "tnr": recall_score(y, pa, pos_label=0),
        "platt": {"slope": -platt.a_, "intercept": -platt.b_},
        "ridge": {"weights": ridge.coef_[0].tolist(), "intercept": ridge.intercept_[0]},
        "isotonic": {"at": at.tolist(), "values": IsotonicRegression(out_of_bounds="clip").fit(a, y).predict(at).tolist()},
        "mcnemar": mcnemar([[0, ((pa == y) & (pb != y)).sum()], [((pa != y) & (pb == y)).sum(), 0]], exact=True).pvalue,
    })

ratings = rng.integers(0, 3, (4, 25)).astype(float)
ratings[1:, :15] = ratings[0, :15]
ratings[rng.uniform(size=ratings.shape) < 0.2] = np.nan
out = {
    "versions": {"python": platform.python_version(), "scikit-learn": sklearn.__version__, "scipy": scipy.__version__},
    "cases": cases,
    "alpha": {
        "ratings": [[None if np.isnan(v) else v for v in row] for row in ratings],
        "nominal": krippendorff.alpha(ratings, level_of_measurement="nominal"),
        "interval": krippendorff.alpha(ratings, level_of_measurement="interval"),
    },
}
(HERE / "agreement.json").write_text(json.dumps(out, indent=2))

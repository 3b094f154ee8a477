"""Writes the golden files that the numeric tests compare with.

Run: pip install numpy scipy scikit-learn && python tests/oracles/make_golden.py && deno fmt tests/oracles
"""

import json
import pathlib
import platform

import numpy as np
import scipy
import sklearn
from scipy import special, stats
from sklearn import datasets, metrics
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

HERE = pathlib.Path(__file__).parent
VERSIONS = {
    "python": platform.python_version(),
    "numpy": np.__version__,
    "scipy": scipy.__version__,
    "scikit-learn": sklearn.__version__,
}


def short(values):
    """Float32 values in their shortest decimal form, so that both sides read equal numbers."""
    return [float(str(np.float32(v))) for v in np.ravel(values)]


def expected_calibration_error(y, P, bins=15):
    """Guo et al. 2017, equation 3, with bins closed on the right."""
    confidence = P.max(axis=1).astype(np.float64)
    correct = P.argmax(axis=1) == y
    error = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            gap = abs(correct[inside].mean() - confidence[inside].mean())
            error += inside.mean() * gap
    return error


def score_case(y, P, k):
    labels = np.arange(k)
    predicted = P.argmax(axis=1)
    one_hot = np.eye(k)[y]
    shared = sorted(set(y))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        y, predicted, labels=labels, zero_division=0
    )
    areas = [metrics.roc_auc_score(y == c, P[:, c]) for c in shared]
    return {
        "y": y.tolist(),
        "P": short(P),
        "accuracy": metrics.accuracy_score(y, predicted),
        "balancedAccuracy": metrics.recall_score(y, predicted, labels=shared, average="macro"),
        "macroF1": metrics.f1_score(y, predicted, average="macro", zero_division=0),
        "weightedF1": metrics.f1_score(y, predicted, average="weighted", zero_division=0),
        "rocAuc": float(np.mean(areas)),
        "classRocAuc": {str(c): a for c, a in zip(shared, areas)},
        "logLoss": metrics.log_loss(y, P, labels=labels),
        "brier": float(((P.astype(np.float64) - one_hot) ** 2).sum(axis=1).mean()),
        "calibrationError": expected_calibration_error(y, P),
        "confusion": metrics.confusion_matrix(y, predicted, labels=labels).tolist(),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": support.tolist(),
    }


def make_metrics():
    rng = np.random.default_rng(0)
    n, k = 120, 4
    y = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 1.2 * np.eye(k)[y]
    P = special.softmax(logits, axis=1).round(3).astype(np.float32)
    P[:, -1] = (1 - P[:, :-1].astype(np.float64).sum(axis=1)).clip(0, 1).round(3)
    P[0] = [0, 1, 0, 0]
    y[0] = 2  # A certain and wrong row reaches the clipping of the log-loss.
    # Class 4 is neither in y nor predicted; class 3 is predicted but never true.
    rare_y = np.where(y == 3, 0, y)
    rare_P = np.concatenate([P, np.zeros((n, 1), np.float32)], axis=1)
    return {"full": score_case(y, P, k), "rare": score_case(rare_y, rare_P, k + 1)}


def make_two_samples():
    rng = np.random.default_rng(1)
    cases = []
    for a, b in [
        (rng.normal(size=80), rng.normal(0.1, 1, size=60)),
        (rng.normal(size=50), rng.normal(0.8, 2, size=70)),
        (rng.integers(0, 4, 40), rng.integers(0, 5, 90)),
        (rng.normal(size=30), rng.normal(5, 1, size=30)),
    ]:
        a, b = np.round(a, 3), np.round(b, 3)
        d = float(stats.ks_2samp(a, b).statistic)
        n = len(a) * len(b) / (len(a) + len(b))
        cases.append(
            {
                "a": a.tolist(),
                "b": b.tolist(),
                "ks": d,
                "pValue": float(special.kolmogorov(np.sqrt(n) * d)),
                "psi": stability(a, b),
                "quantiles": np.quantile(a, [0, 0.1, 0.5, 0.77, 1]).tolist(),
                "mean": float(np.mean(a)),
                "std": float(np.std(a)),
            }
        )
    return cases


def stability(reference, current, bins=10, epsilon=1e-4):
    quantiles = np.quantile(reference, np.arange(1, bins) / bins)
    values, counts = np.unique(quantiles, return_counts=True)
    # A repeated quantile gets a bin of its own: it is closed just below, too.
    below = np.nextafter(values[counts > 1], -np.inf)
    edges = np.unique(np.concatenate([values, below]))

    def shares(sample):
        return np.bincount(np.searchsorted(edges, sample, side="left"), minlength=len(edges) + 1)

    r = np.maximum(shares(reference) / len(reference), epsilon)
    c = np.maximum(shares(current) / len(current), epsilon)
    return float(((c - r) * np.log(c / r)).sum())


def make_logistic():
    wine = datasets.load_wine()
    X = StandardScaler().fit_transform(wine.data)[:, :6].round(4).astype(np.float32)
    y = wine.target
    cases = []
    for keep, C, balanced in [(3, 1.0, False), (3, 0.05, True), (2, 1.0, False), (2, 10, True)]:
        rows = y < keep
        model = LogisticRegression(
            C=C, class_weight="balanced" if balanced else None, tol=1e-10, max_iter=10000
        ).fit(X[rows].astype(np.float64), y[rows])
        cases.append(
            {
                "classes": keep,
                "C": C,
                "balanced": balanced,
                "coefficients": model.coef_.tolist(),
                "intercepts": model.intercept_.tolist(),
                "probabilities": model.predict_proba(X[rows][:5].astype(np.float64)).tolist(),
            }
        )
    return {"X": short(X), "features": X.shape[1], "y": y.tolist(), "cases": cases}


def make_pca():
    X = datasets.load_wine().data[::4].astype(np.float32)
    scaler = StandardScaler().fit(X.astype(np.float64))
    model = PCA(4, svd_solver="full").fit(scaler.transform(X.astype(np.float64)))
    return {
        "X": short(X),
        "features": X.shape[1],
        "means": scaler.mean_.tolist(),
        "scales": scaler.scale_.tolist(),
        "explainedVarianceRatio": model.explained_variance_ratio_.tolist(),
        "projected": model.transform(scaler.transform(X.astype(np.float64))).tolist(),
    }


def make_group_k_fold():
    # Fewer than 17 groups of partly equal sizes, so that numpy's argsort is stable.
    sizes = [5, 12, 3, 3, 9, 1, 7, 7, 2, 20]
    groups = np.repeat(np.arange(len(sizes)) * 3 - 4, sizes)
    np.random.default_rng(3).shuffle(groups)
    fold = np.zeros(len(groups), int)
    for f, (_, test) in enumerate(GroupKFold(4).split(groups, groups=groups)):
        fold[test] = f
    return {"groups": groups.tolist(), "k": 4, "fold": fold.tolist()}


def boosting_case(X, y, train, **params):
    X = X.astype(np.float32)
    model = HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=10,
        l2_regularization=1.0, early_stopping=False, **params
    ).fit(X[:train], y[:train])
    P = model.predict_proba(X[train:])
    return {
        "train": train,
        "features": X.shape[1],
        "classes": int(y.max()) + 1,
        "accuracy": metrics.accuracy_score(y[train:], P.argmax(axis=1)),
        "logLoss": metrics.log_loss(y[train:], P),
    }


def make_boosting():
    digits = datasets.load_digits()
    rows = np.random.default_rng(4).permutation(len(digits.target))[:900]
    pixels, digit = digits.data[rows].astype(int), digits.target[rows]
    cancer = datasets.load_breast_cancer()
    order = np.random.default_rng(5).permutation(len(cancer.target))
    X, y = cancer.data[order, :10].astype(np.float32), cancer.target[order]
    X = np.array(short(np.round(X, 4)), np.float32).reshape(X.shape)
    holes = np.random.default_rng(6).random(X.shape) < 0.2
    X[holes] = np.nan
    return {
        "digits": {
            **boosting_case(pixels, digit, 600),
            # One letter per pixel, "a" for 0 … "q" for 16.
            "X": ["".join(chr(97 + v) for v in row) for row in pixels],
            "y": "".join(map(str, digit)),
        },
        "cancer": {
            **boosting_case(X, y, 400),
            "X": [" ".join(str(v) for v in row) for row in X],
            "y": "".join(map(str, y)),
        },
    }


def write(name, content):
    text = json.dumps({"versions": VERSIONS, **content}, separators=(",", ":"))
    (HERE / name).write_text(text + "\n")


write(
    "golden.json",
    {
        "metrics": make_metrics(),
        "twoSamples": make_two_samples(),
        "logistic": make_logistic(),
        "pca": make_pca(),
        "groupKFold": make_group_k_fold(),
    },
)
write("boosting.json", make_boosting())

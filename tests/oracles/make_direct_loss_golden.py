"""Writes direct_loss.json: what NannyML's DLE and scikit-learn say of losses without truth.

Run: pip install nannyml statsmodels && python tests/oracles/make_direct_loss_golden.py && deno fmt tests/oracles
"""

import json
import os
import pathlib
import platform
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

import lightgbm
import nannyml
import numpy as np
import pandas as pd
import sklearn
from sklearn.ensemble import GradientBoostingRegressor

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent
ROWS, CHUNK = 1500, 200


def estimate(reference, features, later, metrics):
    """The metrics of NannyML for each part of `later`, with the thresholds of ten chunks."""
    estimator = nannyml.DLE(
        feature_column_names=features, y_pred="p", y_true="y", metrics=metrics, chunk_number=10,
        tune_hyperparameters=False,
    )
    estimator.fit(reference)
    estimator.chunker = nannyml.SizeBasedChunker(chunk_size=CHUNK)
    result = estimator.estimate(later).filter(period="analysis").to_df()
    return {
        metric: {
            "values": result[metric]["value"].astype(float).tolist(),
            "standardError": float(result[metric]["sampling_error"].iloc[0]),
            "lowThreshold": float(result[metric]["lower_threshold"].iloc[0]),
            "highThreshold": float(result[metric]["upper_threshold"].iloc[0]),
        }
        for metric in metrics
    }


def draw(rng, rows, low, high):
    """Two features that matter together, the first in `[low, high)`, and one that does not."""
    return np.round(
        np.stack([rng.uniform(low, high, rows), rng.uniform(0, 1, rows), rng.normal(size=rows)], axis=1), 3
    )


SHIFTS = [(0, 1), (0, 0.5), (0.5, 1), (0.3, 0.9), (0.7, 1)]


def frame(rng, rows, low, high):
    """A regressor and a classifier on the same features: the one errs more, the other is sure of itself and
    mostly wrong, where the first two are large."""
    X = draw(rng, rows, low, high)
    hard = (X[:, 0] > 0.6) & (X[:, 1] > 0.4)
    p = np.round(3 * X[:, 0] + X[:, 1], 3)
    y = np.round(p + (0.2 + 1.5 * hard) * rng.normal(size=rows), 3)
    q = np.round(1 / (1 + np.exp(-6 * (X[:, 1] - 0.4) - rng.normal(size=rows))), 4).clip(0.02, 0.98)
    truth = (rng.uniform(size=rows) < np.where(hard, 1 - q, q)).astype(int)
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "p": p, "y": y, "q": q, "truth": truth})


def as_losses(data):
    """A classifier's log loss as the absolute error of predicting 0: what DLE estimates by `mae`."""
    loss = -np.log(np.where(data["truth"] == 1, data["q"], 1 - data["q"]))
    return data.assign(confidence=np.maximum(data["q"], 1 - data["q"]), p=0.0, y=loss)


def make_trees():
    rng = np.random.default_rng(23)
    X = np.stack([rng.integers(0, 12, 300), rng.integers(0, 25, 300), rng.integers(0, 5, 300)], axis=1).astype(float)
    y = np.round(np.sin(X[:, 0]) * X[:, 2] + 0.1 * X[:, 1] + rng.normal(0, 0.3, 300), 4)
    model = GradientBoostingRegressor(
        max_depth=None, max_leaf_nodes=6, min_samples_leaf=7, learning_rate=0.1, n_estimators=40,
        criterion="squared_error", random_state=0,
    ).fit(X, y)
    return {"X": X.ravel().astype(int).tolist(), "features": 3, "y": y.tolist(), "predicted": model.predict(X).tolist()}


rng = np.random.default_rng(22)
reference = frame(rng, ROWS, 0, 1)
later = pd.concat([frame(rng, CHUNK, *shift) for shift in SHIFTS], ignore_index=True)
inputs = ["a", "b", "c", "q", "confidence"]
content = {
    "versions": {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "lightgbm": lightgbm.__version__,
        "nannyml": nannyml.__version__,
    },
    "chunk": CHUNK,
    "trees": make_trees(),
    "reference": {c: reference[c].tolist() for c in reference},
    "later": {c: later[c].tolist() for c in later},
    "regression": estimate(reference, list("abc"), later, ["mae", "rmse"]),
    "logLoss": estimate(as_losses(reference), inputs, as_losses(later), ["mae"])["mae"],
}
(HERE / "direct_loss.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")

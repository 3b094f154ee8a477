"""Writes estimation.json: what NannyML and scikit-learn say of predictions without truth.

Run: pip install nannyml statsmodels && python tests/oracles/make_estimation_golden.py && deno fmt tests/oracles
"""

import json
import os
import pathlib
import platform
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

import nannyml
import numpy as np
import pandas as pd
import sklearn
from nannyml.calibration import _calculate_expected_calibration_error, _get_bin_index_edges
from nannyml.sampling_error.regression import mae_sampling_error_components, rmse_sampling_error, rmse_sampling_error_components
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent
METRICS = ["accuracy", "precision", "recall", "f1", "roc_auc"]


def short(values):
    """Float32 values in their shortest decimal form, so that both sides read equal numbers."""
    return [float(str(np.float32(v))) for v in np.ravel(values)]


def unique_probabilities(rng, rows):
    """Probabilities without ties, even with one half, that float32 holds exactly."""
    return (rng.choice(4096, rows, replace=False) + 0.25) / 4096


def read(estimator, data, metrics):
    result = estimator.estimate(data).filter(period="analysis").to_df()
    out = {}
    for metric in metrics:
        row = result[metric].iloc[0]
        out[metric] = {
            "value": float(row["value"]),
            "standardError": float(row["sampling_error"]),
            "low": float(row["lower_confidence_boundary"]),
            "high": float(row["upper_confidence_boundary"]),
            "lowThreshold": float(row["lower_threshold"]),
            "highThreshold": float(row["upper_threshold"]),
            "isAlert": bool(row["alert"]),
        }
    return out


def make_binary(name, seed, distort, rows=500, later=200):
    rng = np.random.default_rng(seed)
    p = unique_probabilities(rng, rows)
    y = (rng.uniform(size=rows) < distort(p)).astype(int)
    q = (unique_probabilities(rng, later) ** 0.5).astype(np.float32).astype(float)
    reference = pd.DataFrame({"p": p, "label": (p >= 0.5).astype(int), "y": y})
    analysis = pd.DataFrame({"p": q, "label": (q >= 0.5).astype(int)})
    estimator = nannyml.CBPE(
        y_pred_proba="p", y_pred="label", y_true="y", problem_type="classification_binary",
        metrics=METRICS + ["confusion_matrix"], chunk_number=10,
    )
    estimator.fit(reference)
    # Honest scores stay as they are in some of the seeds only: NannyML's decision is a matter of chance.
    if name == "honest" and estimator.needs_calibration:
        return make_binary(name, seed + 1, distort, rows, later)
    # The whole of the analysis is one chunk; the thresholds are those of ten chunks of the reference.
    whole = nannyml.SizeBasedChunker(chunk_size=later)
    estimator.chunker = whole
    cells = ["true_negative", "false_positive", "false_negative", "true_positive"]
    out = read(estimator, analysis, METRICS + cells)
    return {
        "name": name,
        "k": 2,
        "isCalibrated": bool(estimator.needs_calibration),
        "P": short(np.stack([1 - p, p], axis=1)),
        "y": y.tolist(),
        "Q": short(np.stack([1 - q, q], axis=1)),
        "metrics": {m: out[m] for m in METRICS},
        "confusion": [out[c]["value"] for c in cells],
        "confusionErrors": [out[c]["standardError"] for c in cells],
    }


def make_multiclass(name, seed, sharpness, rows=400, later=150):
    rng = np.random.default_rng(seed)
    names = ["a", "b", "c"]

    def draw(n, shift):
        logits = rng.normal(size=(n, 3)) * 1.5 + shift
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return p.astype(np.float32).astype(float)

    P, Q = draw(rows, 0), draw(later, np.array([0.5, 0, -0.5]))
    true = P**sharpness / (P**sharpness).sum(axis=1, keepdims=True)
    y = np.array([rng.choice(3, p=t) for t in true])

    def frame(P):
        data = pd.DataFrame({f"p_{c}": P[:, i] for i, c in enumerate(names)})
        data["label"] = np.array(names)[P.argmax(axis=1)]
        return data

    reference = frame(P)
    reference["y"] = np.array(names)[y]
    estimator = nannyml.CBPE(
        y_pred_proba={c: f"p_{c}" for c in names}, y_pred="label", y_true="y",
        problem_type="classification_multiclass", metrics=METRICS + ["confusion_matrix"], chunk_number=10,
    )
    estimator.fit(reference)
    estimator.chunker = nannyml.SizeBasedChunker(chunk_size=later)
    cells = [f"true_{t}_pred_{p}" for t in names for p in names]
    out = read(estimator, frame(Q), METRICS + cells)
    calibrated = [type(estimator._calibrators[c]).__name__ == "IsotonicCalibrator" for c in names]
    # The golden test takes NannyML's decision for all classes at once: take a seed where they agree.
    if len(set(calibrated)) > 1:
        return make_multiclass(name, seed + 1, sharpness, rows, later)
    return {
        "name": name,
        "k": 3,
        "isCalibrated": calibrated[0],
        "P": short(P),
        "y": y.tolist(),
        "Q": short(Q),
        "metrics": {m: out[m] for m in METRICS},
        "confusion": [out[c]["value"] for c in cells],
        "confusionErrors": [out[c]["standardError"] for c in cells],
    }


def make_isotonic():
    rng = np.random.default_rng(4)
    x = rng.integers(0, 30, 80) / 4
    y = (rng.uniform(size=80) < x / 8).astype(float)
    at = np.linspace(-1, 9, 41)
    fit = IsotonicRegression(out_of_bounds="clip").fit(x, y)
    return {"x": x.tolist(), "y": y.tolist(), "at": at.tolist(), "values": fit.predict(at).tolist()}


def make_calibration_error():
    rng = np.random.default_rng(5)
    cases = []
    for n in [11, 57, 400]:
        p = unique_probabilities(rng, n)
        y = (rng.uniform(size=n) < p**2).astype(int)
        error = _calculate_expected_calibration_error(y, p, _get_bin_index_edges(n, 10))
        cases.append({"scores": p.tolist(), "truth": y.tolist(), "error": float(error)})
    return cases


def make_stumps():
    rng = np.random.default_rng(6)
    X = np.stack([rng.integers(0, 12, 200), rng.integers(0, 25, 200), rng.integers(0, 5, 200)], axis=1).astype(float)
    y = np.round(np.sin(X[:, 0]) + 0.1 * X[:, 1] + rng.normal(0, 0.3, 200), 4)
    model = GradientBoostingRegressor(
        max_depth=1, learning_rate=0.1, n_estimators=60, criterion="squared_error"
    ).fit(X, y)
    return {"X": X.ravel().astype(int).tolist(), "features": 3, "y": y.tolist(), "predicted": model.predict(X).tolist()}


def make_regression_errors():
    rng = np.random.default_rng(7)
    y = pd.Series(np.round(rng.normal(size=200), 3))
    p = pd.Series(np.round(y + rng.normal(0, 0.4, 200), 3))
    rows = np.zeros((50, 1))
    return {
        "y": y.tolist(),
        "predicted": p.tolist(),
        "rows": 50,
        "mae": float(mae_sampling_error_components(y, p)[0] / np.sqrt(50)),
        "rmse": float(rmse_sampling_error(rmse_sampling_error_components(y, p), rows)),
    }


def make_reconstruction():
    rng = np.random.default_rng(8)
    mix = rng.normal(size=(6, 6))
    X = np.round(rng.normal(size=(600, 3)) @ mix[:3] + 0.3 * rng.normal(size=(600, 6)), 3).astype(np.float32)
    Q = np.round(rng.normal(size=(150, 3)) @ mix[3:] + 0.3 * rng.normal(size=(150, 6)), 3).astype(np.float32)
    columns = [f"c{i}" for i in range(6)]
    calculator = nannyml.DataReconstructionDriftCalculator(column_names=columns, chunk_number=10)
    calculator.fit(pd.DataFrame(X.astype(np.float64), columns=columns))
    calculator.chunker = nannyml.SizeBasedChunker(chunk_size=150)
    row = calculator.calculate(pd.DataFrame(Q.astype(np.float64), columns=columns)).filter(period="analysis").to_df()
    row = row["reconstruction_error"].iloc[0]
    return {
        "X": [float(str(v)) for v in X.ravel()],
        "Q": [float(str(v)) for v in Q.ravel()],
        "features": 6,
        "components": int(calculator._pca.n_components_),
        "value": float(row["value"]),
        "standardError": float(row["sampling_error"]),
        "lowThreshold": float(row["lower_threshold"]),
        "highThreshold": float(row["upper_threshold"]),
    }


content = {
    "versions": {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "nannyml": nannyml.__version__,
    },
    "classifiers": [
        make_binary("sharp", 1, lambda p: p**2),
        make_binary("honest", 2, lambda p: p),
        make_multiclass("sharp", 3, 2.5),
        make_multiclass("honest", 10, 1),
    ],
    "isotonic": make_isotonic(),
    "calibrationError": make_calibration_error(),
    "stumps": make_stumps(),
    "regressionErrors": make_regression_errors(),
    "reconstruction": make_reconstruction(),
}
print([(c["name"], c["k"], c["isCalibrated"]) for c in content["classifiers"]])
(HERE / "estimation.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")

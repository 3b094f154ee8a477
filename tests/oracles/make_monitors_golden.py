"""Writes monitors.json: rows of a baseline and of three days, and what numpy, scipy and scikit-learn say of them.

Run: pip install scipy scikit-learn && python tests/oracles/make_monitors_golden.py && deno fmt tests/oracles
"""

import json
import pathlib

import numpy as np
import scipy
import sklearn
from scipy import special, stats
from scipy.spatial import distance
from sklearn import metrics

HERE = pathlib.Path(__file__).parent
CLASSES = ["sandstone", "siltstone", "anhydrite"]
FEATURES = ["GR", "RHOB", "NPHI"]


def make_rows(rng, n, shift, classes):
    gr = np.round(rng.normal(60 + shift, 20, n), 2)
    gr[rng.random(n) < 0.1] = 0.0
    p = np.round(rng.dirichlet([3, 2, 1], n), 3).astype(np.float32)
    rows = []
    for i in range(n):
        label = classes[int(rng.integers(len(classes)))]
        rows.append({
            # A missing value is null, "nan" one that is there and is no number.
            "features": [
                None if i % 17 == 5 else "nan" if i % 23 == 7 else float(gr[i]),
                2.5,
                float(rng.choice([0.0, 0.1, 0.2, 0.3], p=[0.4, 0.3, 0.2, 0.1] if shift == 0 else [0.2, 0.3, 0.2, 0.3])),
            ],
            "label": label,
            "probabilities": [float(v) for v in p[i]],
            "confidence": float(p[i].max()),
            "slice": "A" if i % 3 else "B",
            "truth": None if i % 4 == 0 else label if i % 5 else CLASSES[i % 3],
        })
    return rows


def column(rows, name):
    if name in FEATURES:
        return [r["features"][FEATURES.index(name)] for r in rows]
    if name == ":confidence":
        return [r["confidence"] for r in rows]
    if name.startswith(":probability:"):
        return [r["probabilities"][CLASSES.index(name.split(":")[2])] for r in rows]
    return [r["label" if name == ":prediction" else "truth"] for r in rows]


def present(values):
    return np.array([v for v in values if v is not None and v != "nan"], dtype=float)


def profile(rows, name):
    values = column(rows, name)
    if name in (":prediction", ":label"):
        seen = [v for v in values if v is not None]
        lengths = [len(v) for v in seen]
        names, counts = np.unique(seen, return_counts=True) if seen else ([], [])
        order = np.lexsort((names, -np.asarray(counts)))
        return {
            "count": len(values),
            "num_nulls": len(values) - len(seen),
            "distinct_count": len(names),
            "min_length": min(lengths, default=None),
            "max_length": max(lengths, default=None),
            "avg_length": float(np.mean(lengths)) if lengths else None,
            "frequent_items": [{"item": str(names[i]), "count": int(counts[i])} for i in order],
        }
    x = present(values)
    return {
        "count": len(values),
        "num_nulls": sum(v is None for v in values),
        "num_nan": sum(v == "nan" for v in values),
        "num_zeros": int((x == 0).sum()),
        "avg": float(x.mean()),
        "stddev": float(x.std(ddof=1)) if len(x) > 1 else None,
        "min": float(x.min()),
        "max": float(x.max()),
        "median": float(np.median(x)),
        "quantiles": [float(v) for v in np.quantile(x, np.linspace(0, 1, 21))],
        "distinct_count": len(np.unique(x)),
    }


def stability(r, c):
    """PSI over ten quantile bins; a quantile that two share has a bin of its own."""
    edges = []
    for q in np.quantile(r, np.arange(1, 10) / 10):
        if edges and edges[-1] == q:
            below = np.nextafter(q, -np.inf)
            if len(edges) < 2 or edges[-2] != below:
                edges.insert(-1, below)
        else:
            edges.append(q)
    share = lambda x: np.maximum(np.histogram(x, np.r_[-np.inf, np.nextafter(edges, np.inf), np.inf])[0] / len(x), 1e-4)
    a, b = share(r), share(c)
    return float(((b - a) * np.log(b / a)).sum())


def bins(r, c):
    if len(np.unique(r)) <= 20:
        values = np.union1d(r, c)
        return tuple(np.array([(x == v).sum() for v in values]) for x in (r, c))
    edges = np.histogram_bin_edges(np.r_[r, c], bins="sturges")
    return np.histogram(r, edges)[0], np.histogram(c, edges)[0]


def numbers(reference, current, name):
    # Columns are compared as the model sees them.
    r, c = (present(column(rows, name)).astype(np.float32).astype(float) for rows in (reference, current))
    d = float(stats.ks_2samp(r, c).statistic)
    a, b = bins(r, c)
    return {
        "js_distance": float(distance.jensenshannon(a, b)),
        "ks_test": {"statistic": d, "pvalue": float(special.kolmogorov(np.sqrt(len(r) * len(c) / (len(r) + len(c))) * d))},
        "wasserstein_distance": float(stats.wasserstein_distance(r, c)),
        "population_stability_index": stability(r, c),
    }


def categories(reference, current, name):
    sides = [[v for v in column(rows, name) if v is not None] for rows in (reference, current)]
    names = sorted(set(sides[0]) | set(sides[1]))
    a, b = (np.array([side.count(n) for n in names]) for side in sides)
    chi = stats.chi2_contingency([a, b], correction=False)
    gap = np.abs(a / a.sum() - b / b.sum())
    return {
        "js_distance": float(distance.jensenshannon(a, b)),
        "chi_squared_test": {"statistic": float(chi.statistic), "pvalue": float(chi.pvalue)},
        "tv_distance": float(gap.sum() / 2),
        "l_infinity_distance": float(gap.max()),
    }


def suiting(reference, current, name, columns):
    """p-value of the test that Evidently chooses for up to 1000 reference rows."""
    if name in (":prediction", ":label"):
        return columns["chi_squared_test"]["pvalue"]
    r, c = (present(column(rows, name)) for rows in (reference, current))
    distinct = len(np.unique(np.r_[r, c].astype(np.float32)))
    if distinct > 5:
        return columns["ks_test"]["pvalue"]
    # A constant has no variance to test.
    return 1.0 if distinct == 1 else float(stats.chi2_contingency(np.array(bins(*(x.astype(np.float32) for x in (r, c)))), correction=False).pvalue)


def quality(rows):
    y, p = zip(*[(r["truth"], r["label"]) for r in rows if r["truth"] is not None])
    names = sorted(set(y) | set(p))
    means = {}
    for key, score in [("precision", metrics.precision_score), ("recall", metrics.recall_score), ("f1_score", metrics.f1_score)]:
        of = lambda average: score(y, p, labels=names, average=average, zero_division=0)
        means[key] = {
            "one_vs_all": dict(zip(names, map(float, of(None)))),
            "macro": float(of("macro")),
            "weighted": float(of("weighted")),
        }
    return {"labeled_rows": len(y), "accuracy": float(metrics.accuracy_score(y, p)), **means}


def main():
    rng = np.random.default_rng(11)
    baseline = make_rows(rng, 200, 0, CLASSES[:2])
    for i, row in enumerate(baseline):
        # Held-out predictions keep probabilities and a class; the prediction is the likeliest class.
        row["truth"] = CLASSES[i % 2]
        row["label"] = CLASSES[int(np.argmax(row["probabilities"]))]
        row["features"] = [
            v if v is None or v == "nan" else float(np.float32(v)) for v in row["features"]
        ]
    first, third = make_rows(rng, 150, 0, CLASSES), make_rows(rng, 120, 15, CLASSES)
    days = {"1": first, "3": third, "4": make_rows(rng, 1, 0, CLASSES)}
    number_names = FEATURES + [":confidence"] + [f":probability:{c}" for c in CLASSES]
    text_names = [":prediction", ":label"]
    golden = {
        "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "sklearn": sklearn.__version__},
        "baseline": baseline,
        "days": days,
        "profile": {day: {n: profile(rows, n) for n in number_names + text_names} for day, rows in days.items()},
        "slices": {
            "A": {n: profile([r for r in first if r["slice"] == "A"], n) for n in number_names},
            "True": profile([r for r in first if r["features"][2] > 0.15], "GR"),
        },
        "quality": {day: quality(rows) for day, rows in (("1", first), ("3", third))},
        "drift": {
            key: {
                **{n: numbers(reference, current, n) for n in number_names},
                **{n: categories(reference, current, n) for n in text_names},
            }
            for key, reference, current in (
                ("1 BASELINE", baseline, first),
                ("3 BASELINE", baseline, third),
                ("3 CONSECUTIVE", first, third),
            )
        },
    }
    for key, columns in golden["drift"].items():
        reference, current = {"1 BASELINE": (baseline, first), "3 BASELINE": (baseline, third), "3 CONSECUTIVE": (first, third)}[key]
        p = [suiting(reference, current, n, columns[n]) for n in number_names + text_names]
        adjusted = map(float, stats.false_discovery_control(p))
        golden["drift"][key] = {n: {**columns[n], "p_value": q, "adjusted_p_value": r} for n, q, r in zip(columns, p, adjusted)}
    (HERE / "monitors.json").write_text(json.dumps(golden))


main()

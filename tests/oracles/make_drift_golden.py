"""Writes drift.json: what scipy, Evidently and river say of small samples and streams.

Run: pip install scipy evidently "pandas<3" river && python tests/oracles/make_drift_golden.py && deno fmt tests/oracles
"""

import json
import pathlib
import platform
import warnings

import evidently
import numpy as np
import pandas as pd
import river
import scipy
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from river.drift import ADWIN, PageHinkley
from scipy import special, stats
from scipy.spatial import distance

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent


def make_special():
    grid = {
        "logGamma": (special.gammaln, [[1e-8], [0.1], [0.5], [1.001], [1.999], [7.3], [15.9], [16], [1e3], [1e6]]),
        "upperGamma": (special.gammaincc, [[0.5, 1e-9], [0.5, 300], [3, 2.9], [40, 41], [1e4, 1.01e4], [1e-3, 2]]),
        "regularizedBeta": (
            special.betainc,
            [[2, 3, 0.4], [0.5, 0.5, 1e-8], [1000, 2000, 0.32], [1e5, 2e5, 0.3345], [50, 0.7, 0.999], [3, 9, 1e-5]],
        ),
        "normalTail": (stats.norm.sf, [[-3], [0], [1e-3], [1], [5], [20], [37]]),
        "normalPoint": (stats.norm.isf, [[1e-300], [1e-10], [0.025], [0.4], [0.9], [0.9999]]),
        "chiSquaredTail": (
            stats.chi2.sf,
            [[1, 1], [0.01, 3], [50, 2], [900, 1000], [1500, 1000], [100000, 99000], [-1, 3]],
        ),
        "studentTail": (
            stats.t.sf,
            [[1, 1], [0.01, 3], [50, 2], [3, 1e6], [10, 1e6], [2, 5.5], [-2, 30], [1e-9, 4], [1e4, 3]],
        ),
    }
    return {
        name: [{"arguments": a, "value": float(f(*a))} for a in arguments] for name, (f, arguments) in grid.items()
    }


def anderson(samples):
    r = stats.anderson_ksamp(samples, variant="midrank")
    return {"statistic": float(r.statistic), "pValue": float(r.pvalue)}


def outcome(r):
    return {"statistic": float(r.statistic), "pValue": float(r.pvalue)}


def numeric_case(a, b):
    a, b = np.round(a, 3), np.round(b, 3)
    sa, sb = pd.Series(a), pd.Series(b)

    def score(name, kind=ColumnType.Numerical):
        return float(get_stattest(sa, sb, kind, name)(sa.copy(), sb.copy(), kind, None).drift_score)

    return {
        "a": a.tolist(),
        "b": b.tolist(),
        "ks": outcome(stats.ks_2samp(a, b, method="exact")),
        "wasserstein": float(stats.wasserstein_distance(a, b)),
        "energy": float(stats.energy_distance(a, b)),
        "welch": outcome(stats.ttest_ind(a, b, equal_var=False)),
        "mannWhitney": outcome(stats.mannwhitneyu(a, b, alternative="two-sided")),
        "cramer": outcome(stats.cramervonmises_2samp(a, b)),
        "anderson": anderson([a, b]),
        "evidently": {
            "wasserstein": score("wasserstein"),
            "jensenshannon": score("jensenshannon"),
            "kl_div": score("kl_div"),
            "hellinger": score("hellinger"),
            "ed": score("ed"),
        },
        "discrepancy": discrepancy(a, b),
    }


def discrepancy(a, b):
    """Gretton et al. 2012, lemma 6, by its formula."""
    pooled = np.concatenate([a, b])
    d = (pooled[:, None] - pooled[None, :]) ** 2
    variance = np.median(d[d > 0]) / 2
    k = np.exp(-d / (2 * variance))
    n, m = len(a), len(b)
    np.fill_diagonal(k, 0)
    value = k[:n, :n].sum() / (n * (n - 1)) + k[n:, n:].sum() / (m * (m - 1)) - 2 * k[:n, n:].mean()
    return {"statistic": float(value), "kernelVariance": float(variance)}


def make_numeric():
    rng = np.random.default_rng(11)
    return [
        numeric_case(a, b)
        for a, b in [
            (rng.normal(size=80), rng.normal(0.1, 1, 60)),
            (rng.normal(size=50), rng.normal(0.8, 2, 70)),
            (rng.integers(0, 4, 40).astype(float), rng.integers(0, 5, 90).astype(float)),
            (rng.integers(0, 60, 90).astype(float), rng.integers(5, 60, 64).astype(float)),
            (rng.normal(size=30), rng.normal(5, 1, 30)),
            (rng.normal(size=7), rng.normal(0.5, 1, 9)),
            (rng.normal(size=12), rng.normal(0.5, 1, 18)),
            (rng.exponential(size=150), rng.exponential(1.2, 230)),
        ]
    ]


def table_case(r, c):
    table = np.array([r, c])
    seen = table[:, table.sum(axis=0) > 0]
    chi = stats.chi2_contingency(seen, correction=False)
    g = stats.chi2_contingency(seen, correction=False, lambda_="log-likelihood")
    p, q = table[0] / table[0].sum(), table[1] / table[1].sum()
    case = {
        "reference": r,
        "current": c,
        "chiSquared": outcome(chi),
        "cramerV": float(stats.contingency.association(seen)),
        "likelihoodRatio": outcome(g),
        "jensenShannon": float(distance.jensenshannon(p, q)),
        "hellinger": float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2)),
        "totalVariation": float(distance.cityblock(p, q) / 2),
        "lInfinity": float(distance.chebyshev(p, q)),
    }
    if len(r) == 2:
        sa = pd.Series(np.repeat([0, 1], r))
        sb = pd.Series(np.repeat([0, 1], c))
        test = get_stattest(sa, sb, ColumnType.Categorical, "z")
        case["z"] = float(test(sa, sb, ColumnType.Categorical, None).drift_score)
        case["fisher"] = float(stats.fisher_exact(table).pvalue)
    if sum(r) + sum(c) < 30:
        case["freemanHalton"] = freeman_halton(table)
        case["permutation"] = freeman_halton(table, lambda t: -np.abs(t[0] / sum(r) - t[1] / sum(c)).sum())
    return case


def freeman_halton(table, order=None):
    """The exact p-value by all tables with these margins."""
    margins = table.sum(axis=0)
    n = table[0].sum()

    def weigh(first):
        return np.exp(sum(np.log(special.binom(m, f)) for m, f in zip(margins, first)) - np.log(special.binom(margins.sum(), n)))

    def tables(left, rest):
        if len(rest) == 1:
            if 0 <= left <= rest[0]:
                yield (left,)
            return
        for first in range(min(left, rest[0]) + 1):
            for others in tables(left - first, rest[1:]):
                yield (first, *others)

    if order is None:
        order = lambda t: weigh(t[0])
    observed = order(table)
    return float(
        sum(
            weigh(first)
            for first in tables(n, list(margins))
            if order(np.array([first, margins - first])) <= observed + 1e-9 * abs(observed)
        )
    )


def make_tables():
    return [
        table_case(r, c)
        for r, c in [
            ([50, 50], [60, 40]),
            ([3, 1], [1, 3]),
            ([900, 20], [410, 25]),
            ([8, 2, 0], [1, 5, 4]),
            ([6, 1, 1], [1, 5, 2]),
            ([120, 30, 0, 5], [80, 60, 0, 2]),
            ([40, 41, 39, 40, 2], [400, 395, 410, 399, 30]),
        ]
    ]


def make_choice():
    cases = []
    rng = np.random.default_rng(12)
    for kind in ["numeric", "categorical"]:
        for rows in [999, 1000, 1001]:
            for distinct in [1, 2, 3, 5, 6, 50]:
                values = np.resize(np.arange(distinct), rows).astype(float)
                column = ColumnType.Numerical if kind == "numeric" else ColumnType.Categorical
                sa, sb = pd.Series(values), pd.Series(rng.permutation(values)[:300])
                cases.append(
                    {
                        "type": kind,
                        "referenceCount": rows,
                        "distinctCount": distinct,
                        "method": get_stattest(sa, sb, column, None).name,
                    }
                )
    return cases


def make_adjusted():
    p = np.random.default_rng(13).uniform(size=12) ** 3
    return {"p": p.tolist(), "adjusted": stats.false_discovery_control(p).tolist()}


def make_k_samples():
    rng = np.random.default_rng(14)
    samples = [np.round(rng.normal(s, 1, n), 1) for s, n in [(0, 20), (0.3, 35), (0.5, 15)]]
    return {"samples": [s.tolist() for s in samples], **anderson(samples)}


def make_streams():
    rng = np.random.default_rng(15)
    steps = np.concatenate([rng.normal(0, 1, 700), rng.normal(1, 1, 600), rng.normal(1, 3, 500), rng.normal(-1, 1, 700)])
    rates = np.concatenate([rng.uniform(size=1500) < 0.15, rng.uniform(size=900) < 0.4, rng.uniform(size=1200) < 0.1])
    return [stream_case(np.round(steps, 3)), stream_case(rates.astype(float))]


def stream_case(values):
    alarms = {}
    for name, make in {
        "adwin": lambda: ADWIN(),
        "eager": lambda: ADWIN(delta=0.05, clock=1, grace_period=30, max_buckets=8),
        "pageHinkley": lambda: PageHinkley(threshold=25),
        "sensitive": lambda: PageHinkley(min_instances=10, delta=0.05, threshold=8, alpha=0.999),
    }.items():
        detector = make()
        found = []
        for i, value in enumerate(values):
            detector.update(value)
            if detector.drift_detected:
                found.append(i)
        alarms[name] = found
        if name == "adwin":
            alarms["adwinEnd"] = {
                "width": int(detector.width),
                "mean": float(detector.estimation),
                "variance": float(detector.variance),
            }
    return {"values": values.tolist(), **alarms}


content = {
    "versions": {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "evidently": evidently.__version__,
        "river": river.__version__,
    },
    "special": make_special(),
    "numeric": make_numeric(),
    "tables": make_tables(),
    "choice": make_choice(),
    "adjusted": make_adjusted(),
    "kSamples": make_k_samples(),
    "streams": make_streams(),
}
(HERE / "drift.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")

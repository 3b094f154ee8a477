"""Writes tree_shap.json: SHAP values of random trees by the shap package.

Run: pip install shap && python tests/oracles/make_shap_golden.py && deno fmt tests/oracles
"""

import json
import pathlib

import numpy as np
import shap

FEATURES = 5
LEAVES = 14
TREES = 4
ROWS = 12


def grow(random):
    """A tree grown at random leaves, so that features come again on a path; children come later."""
    tree = {"feature": [-1], "threshold": [0.0], "left": [0], "right": [0], "missing": [0],
            "cover": [400.0], "value": [0.0]}
    while len(tree["feature"]) < 2 * LEAVES - 1:
        leaves = [i for i, f in enumerate(tree["feature"]) if f < 0 and tree["cover"][i] > 1]
        node = int(random.choice(leaves))
        size = len(tree["feature"])
        tree["feature"][node] = int(random.integers(FEATURES))
        tree["threshold"][node] = float(random.integers(-8, 9)) / 4
        tree["left"][node], tree["right"][node] = size, size + 1
        tree["missing"][node] = int(random.integers(2))
        part = float(random.integers(1, int(tree["cover"][node])))
        for cover in (part, tree["cover"][node] - part):
            for key in ("threshold", "left", "right", "missing", "value"):
                tree[key].append(0 if key in ("left", "right", "missing") else 0.0)
            tree["feature"].append(-1)
            tree["cover"].append(cover)
    for node, feature in enumerate(tree["feature"]):
        if feature < 0:
            tree["value"][node] = float(random.integers(-64, 65)) / 32
    return tree


def to_shap(tree):
    feature = np.array(tree["feature"])
    is_leaf = feature < 0
    left = np.where(is_leaf, -1, tree["left"])
    right = np.where(is_leaf, -1, tree["right"])
    return {
        "children_left": left.astype(np.int32),
        "children_right": right.astype(np.int32),
        "children_default": np.where(np.array(tree["missing"]) == 1, left, right).astype(np.int32),
        "features": np.where(is_leaf, -2, feature).astype(np.int32),
        "thresholds": np.array(tree["threshold"]),
        "values": np.array(tree["value"]).reshape(-1, 1),
        "node_sample_weight": np.array(tree["cover"]),
    }


def main():
    random = np.random.default_rng(7)
    trees = [grow(random) for _ in range(TREES)]
    X = random.integers(-12, 13, (ROWS, FEATURES)) / 5
    X[random.random(X.shape) < 0.15] = np.nan
    explainer = shap.TreeExplainer(
        {"trees": [to_shap(tree) for tree in trees]}, feature_perturbation="tree_path_dependent"
    )
    values = explainer.shap_values(X, check_additivity=False)
    golden = {
        "by": f"shap {shap.__version__}",
        "trees": trees,
        "rows": [[None if np.isnan(x) else x for x in row] for row in X.tolist()],
        "base_value": float(np.ravel(explainer.expected_value)[0]),
        "contributions": np.array(values).reshape(ROWS, FEATURES).tolist(),
    }
    path = pathlib.Path(__file__).parent / "tree_shap.json"
    path.write_text(json.dumps(golden) + "\n")


main()

"""Writes forecast.json: damped additive Holt-Winters of a random series by statsmodels.

Run: pip install statsmodels pandas && python tests/oracles/make_forecast_golden.py && deno fmt tests/oracles
"""

import json
import pathlib

import numpy as np
import pandas as pd
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.holtwinters import ExponentialSmoothing

PERIOD = 6
STEPS = 90
HORIZON = 15


def make_series():
    random = np.random.default_rng(7)
    t = np.arange(STEPS)
    season = 12 * np.sin(2 * np.pi * t / PERIOD)
    return np.round(100 + 0.8 * t + season + np.cumsum(random.normal(0, 2, STEPS)), 3)


values = make_series()
start = {"level": 98.0, "trend": 1.5, "season": [0.0, 10.0, 10.0, 0.0, -10.0, -10.0]}
parameters = {"alpha": 0.4, "beta": 0.25, "gamma": 0.15, "phi": 0.9}

model = ExponentialSmoothing(
    values, trend="add", damped_trend=True, seasonal="add", seasonal_periods=PERIOD,
    initialization_method="known", initial_level=start["level"], initial_trend=start["trend"],
    initial_seasonal=start["season"],
)
fixed = model.fit(
    smoothing_level=parameters["alpha"], smoothing_trend=parameters["beta"],
    smoothing_seasonal=parameters["gamma"], damping_trend=parameters["phi"], optimized=False,
)
best = model.fit(optimized=True, method="L-BFGS-B", use_brute=True)

# The state-space form has the forecast and its variances; its beta is that of Holt and Winters times
# alpha. The other one's forecast leaves the last value out of the season.
ets = ETSModel(
    pd.Series(values), error="add", trend="add", damped_trend=True, seasonal="add", seasonal_periods=PERIOD,
    initialization_method="known", initial_level=start["level"], initial_trend=start["trend"],
    initial_seasonal=start["season"],
)
raw = [parameters["alpha"], parameters["alpha"] * parameters["beta"], parameters["gamma"],
       parameters["phi"]]
names = ["smoothing_level", "smoothing_trend", "smoothing_seasonal", "damping_trend"]
with ets.fix_params(dict(zip(names, raw))):
    fit = ets.fit(disp=False)
variance = np.asarray(fit.get_prediction(start=STEPS, end=STEPS + HORIZON - 1).forecast_variance)

pathlib.Path(__file__).with_name("forecast.json").write_text(json.dumps({
    "values": values.tolist(),
    "start": start,
    "parameters": parameters,
    "fitted": fixed.fittedvalues.tolist(),
    "squared_error": float(fixed.sse),
    "forecast": fit.forecast(HORIZON).tolist(),
    "relative_variance": (variance / variance[0]).tolist(),
    "best_squared_error": float(best.sse),
}))

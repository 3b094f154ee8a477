"""Reads the wells of data/ with lasio and writes what it found to las_golden.json.

    pip install lasio==0.31 numpy && python tests/oracles/make_las_golden.py

Per curve: the number of values, the SHA-256 over all of them as little-endian float64 (NaN as
0x7ff8000000000000), and three of them for the reader. Equal hashes mean that every value is equal
to the last bit.
"""
import gzip
import hashlib
import io
import json
import pathlib

import lasio
import numpy as np

here = pathlib.Path(__file__).parent
data = here.parent.parent / "data"
golden = {"lasio": lasio.__version__, "files": {}}
for name in ["P-129", "P-130", "P-135", "F03-02"]:
    text = gzip.decompress((data / f"{name}.las.gz").read_bytes()).decode("utf-8")
    las = lasio.read(io.StringIO(text), engine="normal")
    curves = []
    for curve in las.curves:
        values = np.asarray(curve.data, dtype="<f8").copy()
        values[np.isnan(values)] = np.nan
        curves.append({
            "name": curve.mnemonic,
            "unit": curve.unit,
            "description": curve.descr,
            "finite": int(np.isfinite(values).sum()),
            "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
            "sample": [None if np.isnan(v) else float(v) for v in values[[0, len(values) // 2, -1]]],
        })
    well = {item.mnemonic: [item.unit, str(item.value), item.descr] for item in las.well}
    golden["files"][name] = {"rows": len(las.curves[0].data), "curves": curves, "well": well}
(here / "las_golden.json").write_text(json.dumps(golden, indent=1) + "\n")

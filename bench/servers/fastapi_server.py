"""The endpoint that a FastAPI user writes: pydantic in, onnxruntime, JSON out; nothing is logged."""
import os

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel

options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
columns = [f"column_{j}" for j in range(10)]
classes = ["a", "b", "c"]
app = FastAPI()


class Body(BaseModel):
    records: list[dict[str, float]]


@app.post("/predict")
async def predict(body: Body):
    X = np.array([[record[name] for name in columns] for record in body.records], np.float32)
    labels, probabilities = session.run(["label", "probabilities"], {"input": X})
    return {
        "predictions": [
            {"label": classes[label], "confidence": float(row[label]), "probabilities": dict(zip(classes, map(float, row)))}
            for label, row in zip(labels, probabilities)
        ]
    }

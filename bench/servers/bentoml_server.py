"""The same endpoint on BentoML: `bentoml serve bentoml_server:Bench`."""
import os

import bentoml
import numpy as np
import onnxruntime as ort

columns = [f"column_{j}" for j in range(10)]
classes = ["a", "b", "c"]


@bentoml.service(workers=1)
class Bench:
    def __init__(self):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["MODEL"], options)

    @bentoml.api
    def predict(self, records: list[dict[str, float]]) -> dict:
        X = np.array([[r[name] for name in columns] for r in records], np.float32)
        labels, probabilities = self.session.run(["label", "probabilities"], {"input": X})
        return {
            "predictions": [
                {"label": classes[l], "confidence": float(p[l]), "probabilities": dict(zip(classes, map(float, p)))}
                for l, p in zip(labels, probabilities)
            ]
        }

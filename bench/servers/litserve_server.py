"""The same endpoint on LitServe, with its batching at 64 and 1 ms."""
import os
import sys

import litserve as ls
import numpy as np
import onnxruntime as ort

columns = [f"column_{j}" for j in range(10)]
classes = ["a", "b", "c"]


class Api(ls.LitAPI):
    def setup(self, device):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["MODEL"], options)

    def decode_request(self, request):
        return np.array([[r[name] for name in columns] for r in request["records"]], np.float32)

    def predict(self, X):
        return self.session.run(["label", "probabilities"], {"input": X})

    def encode_response(self, output):
        labels, probabilities = output
        return {
            "predictions": [
                {"label": classes[l], "confidence": float(p[l]), "probabilities": dict(zip(classes, map(float, p)))}
                for l, p in zip(labels, probabilities)
            ]
        }


if __name__ == "__main__":
    ls.LitServer(Api(), accelerator="cpu", workers_per_device=1).run(port=int(sys.argv[1]), host="127.0.0.1")

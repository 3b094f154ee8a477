"""Saves the model as MLflow serves it: `mlflow_model.py MODEL FOLDER`."""
import sys

import mlflow.onnx
import onnx

mlflow.onnx.save_model(onnx.load(sys.argv[1]), sys.argv[2])

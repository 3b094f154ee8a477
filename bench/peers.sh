#!/bin/sh
# Installs what serving.ts and profile_drift.ts measure Geophone against, each in a folder of its own
# under .geophone/peers (about 3 GB):
# `sh bench/peers.sh [fastapi litserve bentoml mlserver mlflow evidently node]`.
# Needs Python 3.11 with venv, and Node with npm. wrk and, for open-loop latency, vegeta come from
# your system.
set -eu
cd "$(dirname "$0")/.."
peers=.geophone/peers
mkdir -p "$peers"

python_peer() {
  name=$1
  shift
  [ -d "$peers/$name" ] || python3 -m venv "$peers/$name"
  "$peers/$name/bin/pip" install -q "$@"
}

for peer in ${*:-fastapi litserve bentoml mlserver mlflow evidently node}; do
  case $peer in
    fastapi) python_peer fastapi fastapi==0.135.1 'uvicorn[standard]' onnxruntime numpy ;;
    litserve) python_peer litserve litserve onnxruntime numpy ;;
    bentoml) python_peer bentoml bentoml onnxruntime numpy ;;
    mlserver) python_peer mlserver mlserver onnxruntime numpy ;;
    mlflow) python_peer mlflow mlflow onnx onnxruntime ;;
    evidently) python_peer evidently evidently==0.7.23 'pandas<3' ;;
    node)
      mkdir -p "$peers/node"
      (cd "$peers/node" && npm install --silent --ignore-scripts onnxruntime-node@1.30.0)
      ;;
    *)
      echo "Cannot install \"$peer\": the peers are fastapi, litserve, bentoml, mlserver, mlflow, evidently, node" >&2
      exit 2
      ;;
  esac
  echo "$peer is ready"
done

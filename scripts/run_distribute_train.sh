#!/usr/bin/env bash
# Train one stage on several devices of one machine, or of several machines: Ascend, GPU, or processes on a CPU.
#
#   bash scripts/run_distribute_train.sh DEVICE_NUM tuning|joint|global|delg [CHECKPOINT] [--option value ...]
#   bash scripts/run_distribute_train.sh DEVICE_NUM attn|regional_attention CHECKPOINT [--option value ...]
#
# DEVICE_NUM is the number of devices of this machine; --batch_size counts for each of them. The recipe is
# configs/delf_gldv2_8p.yaml unless --config names another. For several machines run it on each, with msrun's options:
# --worker_num (devices in all), --master_addr, --master_port, --node_rank; --cluster_time_out, --bind_core and
# --rank_table_file are handed to msrun too. What each rank prints goes to RUN_FOLDER/STAGE_ranks/worker_N.log.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

msrun_options=() others=()
# add_msrun_option NAME VALUE: msrun itself would answer a wrong number with a traceback.
add_msrun_option() {
    case $1 in
        --worker_num | --master_port | --node_rank | --cluster_time_out)
            is_number "$2" 5 || fail "$1 is '$2': give a whole number from 0 to 99999"
            ;;
    esac
    msrun_options+=("$1=$2")
}
while (($#)); do
    case $1 in
        --worker_num=* | --master_addr=* | --master_port=* | --node_rank=* | --cluster_time_out=* | --bind_core=* | \
            --rank_table_file=*) add_msrun_option "${1%%=*}" "${1#*=}" ;;
        --worker_num | --master_addr | --master_port | --node_rank | --cluster_time_out | --bind_core | --rank_table_file)
            (($# > 1)) || fail "$1 needs a value"
            add_msrun_option "$1" "$2"
            shift
            ;;
        *) others+=("$1") ;;
    esac
    shift
done
split_arguments "${others[@]}"
devices=${positional[0]:-}
is_number "$devices" 4 && ((devices > 0)) ||
    { show_usage "$0" >&2; fail "the first argument is the number of devices, from 1 to 9999"; }
positional=("${positional[@]:1}")
stage_options
[[ " ${options[*]}" == *" --config"[\ =]* ]] || options=(--config "$root/configs/delf_gldv2_8p.yaml" "${options[@]}")

python=$(find_python)
msrun=$(dirname "$(command -v "$python")")/msrun
[[ -x $msrun ]] || fail "msrun is not there: install MindSpore with 'pip install -r requirements.txt'"
if [[ " ${msrun_options[*]-}" != *" --master_"* ]]; then # one machine: any free port, so that two jobs do not meet
    msrun_options+=("--master_port=$("$python" -I -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')")
fi
[[ " ${msrun_options[*]}" == *" --worker_num="* ]] || msrun_options+=("--worker_num=$devices")
run_folder=$("$python" "$root/train.py" "${options[@]}" --print_key save_ckpt)
[[ -n $run_folder ]] || fail "--save_ckpt is empty: give the name of a folder"
logs=$run_folder/${stage}_ranks
# The first rank locks the folder, but what a running job's ranks say is deleted before.
[[ ! -d $run_folder ]] || ! command -v flock >/dev/null || flock --nonblock "$run_folder" true ||
    fail "$run_folder: another process is making it; wait for it, or give another --save_ckpt"
rm -rf -- "$logs"
mkdir -p -- "$logs" || fail "$logs cannot be made: give another --save_ckpt"

# A session of its own: Ctrl-C would make msrun kill the ranks, where they are to finish the step and save.
PATH=$(dirname "$msrun"):$PATH GLOG_v=${GLOG_v:-3} setsid "$msrun" --local_worker_num="$devices" "${msrun_options[@]}" \
    --log_dir="$logs" --join=True --tail_worker_log=0 "$root/train.py" "${options[@]}" 2>"$logs/msrun.log" &
job=$!
# processes ROLE: those of the job, MS_WORKER (a rank each) or MS_SCHED.
processes() {
    local process
    for process in $(pgrep -P "$job"); do
        ! tr '\0' '\n' 2>/dev/null <"/proc/$process/environ" | grep -qx "MS_ROLE=$1" || echo "$process"
    done
}
signalled=0
stop_ranks() {
    signalled=$1
    # shellcheck disable=SC2046
    kill -TERM $(processes MS_WORKER) 2>/dev/null || true
}
trap 'stop_ranks 130' INT
trap 'stop_ranks 143' TERM
started=0
while kill -0 "$job" 2>/dev/null; do
    if [[ -n $(processes MS_WORKER) ]]; then
        started=1
    elif ((started)); then
        # When all ranks are done the scheduler ends by itself, on a busy machine not at once; when one has failed or
        # all were stopped it would wait half a minute for them.
        patience=30
        if ((signalled)) || grep -q -e '^error: ' -e '^Traceback' "$logs"/worker_*.log; then patience=3; fi
        while kill -0 "$job" 2>/dev/null && ((patience-- > 0)); do sleep 1; done
        # shellcheck disable=SC2046
        kill -TERM $(processes MS_SCHED) 2>/dev/null || true
    fi
    sleep 1 &
    wait $! || true # a trap runs at once during wait
done
wait "$job" && status=0 || status=$?
if ((signalled)); then
    grep -h '^stopped after' "$logs/worker_0.log" >&2 || true
    exit "$signalled"
fi
if ((status)); then
    failed=$(grep -l -e '^error: ' -e '^Traceback' "$logs"/worker_*.log) || fail "a rank was killed from outside: see $logs"
    for log in $failed; do
        echo "-- the end of $log"
        grep -v '^\[INFO\]' "$log" | tail -n 20
    done >&2
    fail "the job has failed: what the failing rank said is above, all logs are in $logs"
fi

#!/usr/bin/env bash
# Extract, index, retrieve and evaluate: from a folder of photos and its ground truth to mAP.txt.
#
#   bash scripts/run_eval_retrieval_images.sh IMAGES_PATH GT_PATH CHECKPOINT [DEVICES] [--option value ...]
#
# GT_PATH is a folder of Oxford5k / Paris6k text files, a gnd_*.pkl or gnd_*.mat file, or a table path,label[,query]
# (.csv) of your own photos; for --protocol holidays, ukbench or labelled (a folder for each class) the folder of
# photos again. DEVICES is a string of device ids (0, 01, 03), one worker each; on a CPU only their number counts.
# --output_path FOLDER receives mAP.txt, results.json, report.html and, in FOLDER/retrieval_files, the files between
# (default: the current folder). Finished steps are skipped when the script runs again.
# All options: python eval/evaluate_retrieval.py --help_all
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
split_arguments "$@"
((${#positional[@]} == 3 || ${#positional[@]} == 4)) || { show_usage "$0" >&2; fail "three or four arguments are needed"; }
exec "$(find_python)" "$root/eval/evaluate_retrieval.py" "${positional[@]}" "${options[@]}"

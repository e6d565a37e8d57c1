#!/usr/bin/env bash
# Extract, index, retrieve and evaluate: from a folder of photos and its ground truth to mAP.txt.
#
#   bash scripts/run_eval_retrieval_images.sh IMAGES_PATH GT_PATH CHECKPOINT [DEVICES] [--option value ...]
#
# GT_PATH is a folder of Oxford5k / Paris6k text files or a gnd_*.pkl or gnd_*.mat file; for --protocol holidays or
# ukbench the folder of photos again.
# DEVICES is a string of device ids (0, 01, 03); on a CPU, the number of ids is the number of workers.
# --protocol revisited|classic|modelzoo|holidays|ukbench|instre (default: modelzoo for a text folder, for a file the one
# it belongs to).
# --distractors_path FOLDER: its photos join the index as negatives (R1M, Flickr100k).
# --output_path FOLDER receives mAP.txt, results.json and report.html, and the files between in FOLDER/retrieval_files
# (default: the current folder). Finished steps are skipped when the script runs again; --overwrite makes them anew.
# The PCA is --pca_path, else pca.npz beside the checkpoint, else one fitted on a sample of the photos themselves.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
split_options "$@"
((${#positional[@]} == 3 || ${#positional[@]} == 4)) || { show_usage "$0" >&2; fail "three or four arguments are needed"; }
images_path=${positional[0]} gt_path=${positional[1]} checkpoint=${positional[2]} devices=${positional[3]:-0}
[[ -d "$images_path" ]] || fail "$images_path: no such folder (IMAGES_PATH)"
[[ -e "$gt_path" ]] || fail "$gt_path: no such file or folder (GT_PATH)"
[[ -f "$checkpoint" ]] || fail "$checkpoint: no such file (CHECKPOINT)"
[[ -z "$distractors_path" || -d "$distractors_path" ]] || fail "$distractors_path: no such folder (--distractors_path)"
pca_path=$(recipe_value pca_path)
python=$(find_python)
files=$output_path/retrieval_files
mkdir -p "$files"
extract=("$python" "$root/eval/extract_features.py" "${options[@]}" --images_path "$images_path"
    --checkpoint_path "$checkpoint" --devices "$devices")

if [[ -z "$pca_path" ]]; then
    pca=$(dirname "$checkpoint")/pca.npz
    if [[ ! -f "$pca" ]]; then
        pca=$files/pca.npz
        "${extract[@]}" --num_images 200 --output "$files/pca_sample.h5"
        "$python" "$root/tools/learn_pca.py" "${options[@]}" --features "$files/pca_sample.h5" --output "$pca"
    fi
    options+=(--pca_path "$pca")
    extract+=(--pca_path "$pca")
fi
"${extract[@]}" --output "$files/index_features.h5"
index_features=("$files/index_features.h5") photo_folders=("$images_path")
if [[ -n "$distractors_path" ]]; then
    "${extract[@]}" --images_path "$distractors_path" --name_prefix distractors/ --output "$files/distractor_features.h5"
    index_features+=("$files/distractor_features.h5") photo_folders+=("$distractors_path")
fi
judge=(--gt_path "$gt_path")
[[ -z "$protocol" ]] || judge+=(--protocol "$protocol")
"${extract[@]}" "${judge[@]}" --output "$files/query_features.h5"
"$python" "$root/eval/build_index.py" "${options[@]}" --features "${index_features[@]}" --output "$files/index"
"$python" "$root/eval/perform_retrieval.py" "${options[@]}" --index "$files/index" \
    --query_features "$files/query_features.h5" --output "$files/ranks.npz"
"$python" "$root/eval/compute_map.py" "${options[@]}" --ranks "$files/ranks.npz" "${judge[@]}" \
    --output "$output_path/mAP.txt"
"$python" "$root/eval/report.py" "${options[@]}" --ranks "$files/ranks.npz" "${judge[@]}" \
    --images_path "${photo_folders[@]}" --index_features "${index_features[@]}" \
    --query_features "$files/query_features.h5" --output "$output_path/report.html"

#!/usr/bin/env bash
# Match two photos and draw the inliers in eval_match.png.
#
#   bash scripts/run_eval_match_images.sh IMAGES_PATH CHECKPOINT [DEVICES] [--option value ...]
#
# The two photos are the names in list_images.txt (one a line, relative to IMAGES_PATH) of the current folder, or of
# IMAGES_PATH, or the file given with --list_images_path; without any such file, the first two photos of IMAGES_PATH.
# DEVICES is a string of device ids (0, 01, 03); on a CPU, the number of ids is the number of workers.
# --output_path FOLDER receives eval_match.png, and the features in FOLDER/match_files (default: the current folder).
# The PCA is --pca_path, else pca.npz beside the checkpoint, else descriptors stay whole.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
split_options "$@"
((${#positional[@]} == 2 || ${#positional[@]} == 3)) || { show_usage "$0" >&2; fail "two or three arguments are needed"; }
images_path=${positional[0]} checkpoint=${positional[1]} devices=${positional[2]:-0}
[[ -d "$images_path" ]] || fail "$images_path: no such folder (IMAGES_PATH)"
[[ -f "$checkpoint" ]] || fail "$checkpoint: no such file (CHECKPOINT)"
pca_path=$(recipe_value pca_path)
python=$(find_python)
files=$output_path/match_files
mkdir -p "$files"

if [[ -z "$list_images_path" ]]; then
    for candidate in list_images.txt "$images_path/list_images.txt"; do
        [[ -f "$candidate" ]] && list_images_path=$candidate && break
    done
fi
if [[ -z "$list_images_path" ]]; then
    list_images_path=$files/list_images.txt
    (cd "$images_path" && find . -type f \( -iname '*.jpg' -o -iname '*.jpeg' -o -iname '*.png' -o -iname '*.webp' \)) |
        sed 's|^\./||' | LC_ALL=C sort | sed -n '1,2p' >"$list_images_path"
    echo "no list_images.txt: matching the first two photos of $images_path"
fi
if [[ -z "$pca_path" && -f "$(dirname "$checkpoint")/pca.npz" ]]; then
    options+=(--pca_path "$(dirname "$checkpoint")/pca.npz")
fi

"$python" "$root/eval/extract_features.py" "${options[@]}" --images_path "$images_path" --checkpoint_path "$checkpoint" \
    --list_images_path "$list_images_path" --devices "$devices" --output "$files/features.h5"
"$python" "$root/eval/match_images.py" "${options[@]}" --images_path "$images_path" --features "$files/features.h5" \
    --list_images_path "$list_images_path" --output_image "$output_path/eval_match.png"

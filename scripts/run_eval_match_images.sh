#!/usr/bin/env bash
# Match two photos and draw the inliers in eval_match.png.
#
#   bash scripts/run_eval_match_images.sh IMAGES_PATH CHECKPOINT [DEVICES] [--option value ...]
#
# The two photos are the names in list_images.txt (one a line, relative to IMAGES_PATH) of the current folder, or of
# IMAGES_PATH, or the file given with --list_images_path; without any such file, the first two photos of IMAGES_PATH.
# DEVICES is a string of device ids, of which the first is used. --output_path FOLDER receives eval_match.png (default:
# the current folder). The PCA is --pca_path, else pca.npz beside the checkpoint, else descriptors stay whole.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
split_arguments "$@"
((${#positional[@]} == 2 || ${#positional[@]} == 3)) || { show_usage "$0" >&2; fail "two or three arguments are needed"; }
arguments=()
while ((${#options[@]})); do
    case ${options[0]} in
        --output_path=*) options=("${options[0]%%=*}" "${options[0]#*=}" "${options[@]:1}") ;;
        --output_path)
            ((${#options[@]} > 1)) || fail "--output_path needs a value"
            arguments+=(--output_image "${options[1]}/eval_match.png") options=("${options[@]:2}")
            ;;
        *) arguments+=("${options[0]}") options=("${options[@]:1}") ;;
    esac
done
exec "$(find_python)" "$root/eval/match_images.py" --images_path "${positional[0]}" \
    --checkpoint_path "${positional[1]}" --devices "${positional[2]:-0}" "${arguments[@]}"

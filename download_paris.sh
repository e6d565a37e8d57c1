#!/usr/bin/env bash
# Download the Paris6k photos and their ground truth, classic and revisited.
#
#   bash download_paris.sh DATASET_PATH [--dry-run] [--force] [--keep]
#
# What appears (about 2.5 GB; twice that while unpacking):
#   DATASET_PATH/paris_images/       6392 photos, paris_defense_000000.jpg ...; not the 20 that are broken at the source
#   DATASET_PATH/paris_120310/       defense_1_query.txt, ..._good.txt, ..._ok.txt, ..._junk.txt ...
#   DATASET_PATH/gnd_rparis6k.pkl    the revisited ground truth
#
# --dry-run, --force and --keep, what an interruption means and which photos these are: as in download_oxf.sh --help.
# PARIS_URL and REVISITED_URL replace the servers (addresses of folders, separated by spaces).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/download_common.sh"
read_options "dry-run force keep" "$@"
((${#positional[@]} == 1)) || fail "one folder is needed: bash download_paris.sh DATASET_PATH"
folder=${positional[0]%/}
paris=${PARIS_URL:-https://www.robots.ox.ac.uk/~vgg/data/parisbuildings https://thor.robots.ox.ac.uk/parisbuildings \
    https://thor.robots.ox.ac.uk/datasets/paris-buildings}
images=$folder/paris_images ground_truth=$folder/paris_120310
# The list that VGG publishes as parisbuildings/corrupt.txt.
left_out=(
    paris_louvre_000136.jpg paris_louvre_000146.jpg paris_moulinrouge_000422.jpg paris_museedorsay_001059.jpg
    paris_notredame_000188.jpg paris_pantheon_000284.jpg paris_pantheon_000960.jpg paris_pantheon_000974.jpg
    paris_pompidou_000195.jpg paris_pompidou_000196.jpg paris_pompidou_000201.jpg paris_pompidou_000467.jpg
    paris_pompidou_000640.jpg paris_sacrecoeur_000299.jpg paris_sacrecoeur_000330.jpg paris_sacrecoeur_000353.jpg
    paris_triomphe_000662.jpg paris_triomphe_000833.jpg paris_triomphe_000863.jpg paris_triomphe_000867.jpg
)

if ! has "$images" '*.jpg'; then
    for half in 1 2; do
        want "${images}_$half.tgz" "$(addresses "$paris" paris_$half-v1.tgz paris_$half.tgz)"
    done
fi
has "$ground_truth" '*_query.txt' || want "$ground_truth.tgz" "$(addresses "$paris" paris_120310.tgz)"
want "$folder/gnd_rparis6k.pkl" "$(addresses "$revisited_url" rparis6k/gnd_rparis6k.pkl)"
[[ -d $images && -d $ground_truth ]] || prepare_unpacking
locate
review "$folder" 9
mkdir -p "$folder" || fail "$folder cannot be made"
fetch_planned
[[ -d $images ]] || unpack_flat photos "$images" "${images}_1.tgz" "${images}_2.tgz"
[[ -d $ground_truth ]] || unpack_flat ground_truth "$ground_truth" "$ground_truth.tgz"
echo "Paris6k is complete in $folder"

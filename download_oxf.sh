#!/usr/bin/env bash
# Download the Oxford5k photos and their ground truth, classic and revisited.
#
#   bash download_oxf.sh DATASET_PATH [--dry-run] [--force] [--keep]
#
# What appears (about 2 GB; twice that while unpacking):
#   DATASET_PATH/oxford5k_images/     5063 photos, all_souls_000013.jpg ...
#   DATASET_PATH/gt_files/            all_souls_1_query.txt, ..._good.txt, ..._ok.txt, ..._junk.txt ...
#   DATASET_PATH/gnd_roxford5k.pkl    the revisited ground truth
#
# --dry-run   only say what would be fetched, from where, and how large it is
# --force     start although the disk seems too small
# --keep      keep the archives; without it they go once they are unpacked
#
# Run it again after an interruption: it goes on where it stopped, and skips what is finished.
# The photos are those with blurred faces (-v1), which VGG offers since 2022; the older ones only if those are gone.
# OXFORD_URL and REVISITED_URL replace the servers (addresses of folders, separated by spaces).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/download_common.sh"
read_options "dry-run force keep" "$@"
((${#positional[@]} == 1)) || fail "one folder is needed: bash download_oxf.sh DATASET_PATH"
folder=${positional[0]%/}
oxford=${OXFORD_URL:-https://www.robots.ox.ac.uk/~vgg/data/oxbuildings https://thor.robots.ox.ac.uk/oxbuildings \
    https://thor.robots.ox.ac.uk/datasets/oxford-buildings}
images=$folder/oxford5k_images ground_truth=$folder/gt_files

has "$images" '*.jpg' || want "$images.tgz" "$(addresses "$oxford" oxbuild_images-v1.tgz oxbuild_images.tgz)"
has "$ground_truth" '*_query.txt' || want "$ground_truth.tgz" "$(addresses "$oxford" gt_files_170407.tgz)"
want "$folder/gnd_roxford5k.pkl" "$(addresses "$revisited_url" roxford5k/gnd_roxford5k.pkl)"
[[ -d $images && -d $ground_truth ]] || prepare_unpacking
locate
review "$folder" 9
mkdir -p "$folder" || fail "$folder cannot be made"
fetch_planned
[[ -d $images ]] || unpack_flat photos "$images" "$images.tgz"
[[ -d $ground_truth ]] || unpack_flat ground_truth "$ground_truth" "$ground_truth.tgz"
echo "Oxford5k is complete in $folder"

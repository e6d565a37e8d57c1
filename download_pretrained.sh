#!/usr/bin/env bash
# Download Keras's ImageNet weights of ResNet-50, from which stage `tuning` starts.
#
#   bash download_pretrained.sh [FOLDER] [--dry-run] [--force]
#
# What appears (95 MB):
#   FOLDER/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5    FOLDER is the current one by default
#
# --dry-run   only say what would be fetched, from where, and how large it is
# --force     start although the disk seems too small
#
# Run it again after an interruption: it goes on where it stopped, and checks what is finished.
# Keras has published this file twice under one name, with older and newer layer names; training reads both.
# PRETRAINED_URL replaces the servers (addresses of folders, separated by spaces), PRETRAINED_MD5 the md5 to be found.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/download_common.sh"
read_options "dry-run force" "$@"
((${#positional[@]} <= 1)) || fail "one folder at most: bash download_pretrained.sh [FOLDER]"
folder=${positional[0]:-.}
name=resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5
file=${folder%/}/$name
servers=${PRETRAINED_URL:-https://github.com/fchollet/deep-learning-models/releases/download/v0.2 \
    https://storage.googleapis.com/tensorflow/keras-applications/resnet \
    https://github.com/keras-team/keras-applications/releases/download/resnet}
# As Keras's own sources give them: release v0.2, then the two others.
md5s=${PRETRAINED_MD5:-a268eb855778b3df3c7506639542a6af 4d473c1dd8becc155b73f8504c6f6626}

refuse_stranger "$file"
if [[ -e $file ]]; then
    [[ " $md5s " == *" $(md5_of "$file") "* ]] || fail "$file is not the file that Keras published: move it away"
    echo "$file is there: nothing to do"
    exit 0
fi
plan "$file" "$(addresses "$servers" "$name")"
locate
review "$folder" 0
mkdir -p "$folder" || fail "$folder cannot be made"
download_planned 0 "$md5s" || exit
echo "$file is complete"

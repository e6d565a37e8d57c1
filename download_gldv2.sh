#!/usr/bin/env bash
# Download archives START to END (both included, 0 to 499) of the Google Landmarks v2 training photos, and their lists.
#
#   bash download_gldv2.sh START END DATASET_PATH [--extract] [--jobs N] [--dry-run] [--force] [--keep]
#
# What appears (an archive is about 1 GB, all 500 about 500 GB):
#   DATASET_PATH/train/train.csv, train_clean.csv    all photos, and those of the clean list
#   DATASET_PATH/train/images_000.tar ...            archives; with --extract, the photos: a/b/c/abc....jpg
#   DATASET_PATH/train/images_000.tar.md5            for `md5sum -c`: the archive has been checked
#   DATASET_PATH/train/images_000.tar.unpacked       with --extract: the photos of this archive are all there
#
# --extract   unpack every archive once its published md5 is found right, then delete it; needs Python 3.9, nothing else
# --jobs N    archives that are fetched at the same time (default: 2)
# --dry-run   only say what would be fetched, from where, and how large it is
# --force     start although the disk seems too small
# --keep      with --extract: keep the archives; this takes twice the room
#
# Run it again after an interruption: it goes on where it stopped, and skips what is finished. An archive whose md5 is
# wrong is fetched once more; if that does not help, the other archives go on and the exit status is not 0.
# GLDV2_URL replaces the server (address of the folder that holds metadata/, md5sum/ and train/).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/download_common.sh"
read_options "extract jobs dry-run force keep" "$@"
((${#positional[@]} == 3)) || fail "three arguments are needed: bash download_gldv2.sh START END DATASET_PATH"
for number in "${positional[@]:0:2}"; do
    [[ $number =~ ^0*[0-4]?[0-9]?[0-9]$ ]] || fail "$number is no archive number: give one from 0 to 499"
done
start=$((10#${positional[0]})) end=$((10#${positional[1]})) train=${positional[2]%/}/train
((start <= end)) || fail "START ($start) is above END ($end)"
base=${GLDV2_URL:-https://s3.amazonaws.com/google-landmark}
base=${base%/}

# fetch_checked INDEX: an archive of the plan under its name, with its md5 beside it.
fetch_checked() {
    local tar=${plan_files[$1]} name published md5
    name=$(basename "$tar") published=$tar.md5.published
    rm -f "$published" "$published.part" "$published.part.from"
    download "$published" "$base/md5sum/train/md5.${name%.tar}.txt" - - >/dev/null || return
    read -r md5 _ <"$published" || true
    rm -f "$published"
    [[ $md5 =~ ^[0-9a-f]{32}$ ]] || fail "$base/md5sum/train/md5.${name%.tar}.txt holds no md5"
    # One that came here by other means is checked, continued, or fetched again, like one that broke off.
    if [[ -e $tar ]]; then mv -f "$tar" "$tar.part" && rm -f "$tar.part.from"; fi
    download_planned "$1" "$md5" || return
    printf '%s  %s\n' "$md5" "$name" >"$tar.md5.part" || fail "$tar.md5.part cannot be written: is the disk full?"
    mv "$tar.md5.part" "$tar.md5"
    echo "$name is complete, its md5 is right"
}

unpack_photos() {
    unpack gldv2 "$train" "$1" || exit 2
    : >"$1.unpacked" || fail "$1.unpacked cannot be written: is the disk full?"
    ((keep)) || rm -f "$1" "$1.md5"
}

# work FIRST: every `jobs`-th archive from the FIRST on; goes on after a bad archive, not after a lost connection.
work() {
    local next status failed=0
    for ((next = $1; next < ${#archives[@]}; next += jobs)); do
        status=0
        [[ ${archive_index[next]} == - ]] || (fetch_checked "${archive_index[next]}") || status=$?
        if ((status == 0 && extract)); then (unpack_photos "${archives[next]}") || status=$?; fi
        ((status == 0)) || failed=1
        ((status != 4)) || break
    done
    return "$failed"
}

stop() {
    local worker
    for worker in "${workers[@]}"; do kill -TERM -- "-$worker" 2>/dev/null || true; done
    fail "stopped: run the same command again to go on"
}

for list in train.csv train_clean.csv; do want "$train/$list" "$base/metadata/$list"; done
lists=${#plan_files[@]}
archives=() archive_index=() # those to do, and their place in the plan, if they are to be fetched
for ((number = start; number <= end; number++)); do
    printf -v name 'images_%03d.tar' "$number"
    for file in "$train/$name"{,.md5,.unpacked}; do refuse_stranger "$file"; done
    [[ ! -e $train/$name.unpacked ]] || continue
    archives+=("$train/$name")
    if [[ -e $train/$name && -e $train/$name.md5 ]]; then
        archive_index+=(-)
        present_bytes+=("$(bytes_of "$train/$name")")
    else
        archive_index+=("${#plan_files[@]}")
        plan "$train/$name" "$base/train/$name"
    fi
done
((!extract || !${#archives[@]})) || prepare_unpacking
locate
at_once=0
if ((extract)); then at_once=$((keep ? 500 : jobs)); fi
review "$train" "$at_once"
mkdir -p "$train" || fail "$train cannot be made"
for ((index = 0; index < lists; index++)); do download_planned "$index" || exit; done
# Each worker leads a process group, so that stopping this script stops what its workers started.
set -m
trap stop INT TERM HUP
workers=() quiet=$((jobs > 1)) failed=0
for ((worker = 0; worker < jobs; worker++)); do
    work "$worker" &
    workers+=("$!")
done
for worker in "${workers[@]}"; do wait "$worker" || failed=1; done
((!failed)) || fail "some archives are missing, see above; what is there is kept: run the same command again"
echo "archives $start to $end are complete in $train"

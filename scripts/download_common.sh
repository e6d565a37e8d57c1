# shellcheck shell=bash disable=SC2030,SC2031,SC2034
# Shared by the download scripts at the root; sourced, not run. Everything is fetched with curl.
#
# A file is fetched as NAME.part and renamed once it is whole and its checksum is right, so a file under its own name
# is finished. NAME.part.from says which file of which server was begun: only that one is continued.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

retries=${DOWNLOAD_RETRIES:-8}       # attempts in a row that bring no new byte, before giving up
retry_wait=${DOWNLOAD_RETRY_WAIT:-5} # seconds before the second attempt; doubles up to a minute
curl_options=(--location --connect-timeout 20 --speed-limit 1000 --speed-time 60)
plan_files=() plan_addresses=() plan_answers=() present_bytes=() left_out=()
quiet=0 # 1: no progress bar
revisited_url=${REVISITED_URL:-http://cmp.felk.cvut.cz/cnnimageretrieval/data/test \
    http://cmp.felk.cvut.cz/revisitop/data/datasets}

# read_options "NAME ..." "$@": fills `positional` and the variables of the named options.
read_options() {
    local accepted=" $1 " name
    shift
    positional=() dry_run=0 force=0 keep=0 extract=0 jobs=2
    while (($#)); do
        name=${1#--} name=${name%%=*} name=${name//_/-}
        case $1 in
            -h | --help)
                show_usage "$0"
                exit 0
                ;;
            -*)
                [[ $1 == --* && $accepted == *" $name "* ]] || fail "unknown option $1: --help lists the options"
                if [[ $name == jobs ]]; then
                    [[ $1 == *=* || $# -gt 1 ]] || fail "--jobs needs a number"
                    if [[ $1 == *=* ]]; then jobs=${1#*=}; else jobs=$2 && shift; fi
                    [[ $jobs =~ ^[1-9][0-9]?$ ]] || fail "--jobs is $jobs: give a number from 1 to 99"
                else
                    [[ $1 != *=* ]] || fail "--$name takes no value"
                    printf -v "${name//-/_}" 1
                fi
                ;;
            *) positional+=("$1") ;;
        esac
        shift
    done
    command -v curl >/dev/null || fail "curl is needed and not installed: install it with the system's package manager"
}

human() {
    awk -v bytes="$1" 'BEGIN {
        split("B kB MB GB TB", unit)
        for (i = 1; bytes >= 1000 && i < 5; i++) bytes /= 1000
        printf(i == 1 ? "%d %s" : "%.1f %s", bytes, unit[i])
    }'
}

# in_words SIZE: " (1.9 GB)", or nothing.
in_words() { [[ $1 == - ]] || echo " ($(human "$1"))"; }

bytes_of() { if [[ -e $1 ]]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }

md5_of() { md5sum <"$1" | cut -d' ' -f1; }

# addresses "BASES" NAME...: every NAME below every base; all bases have their turn before the next NAME.
addresses() {
    local bases=$1 base name
    shift
    for name in "$@"; do
        for base in $bases; do printf '%s/%s ' "${base%/}" "$name"; done
    done
}

# plan FILE ADDRESSES: FILE is to come from the first of the addresses (separated by spaces) that has it.
plan() {
    plan_files+=("$1") plan_addresses+=("$2")
}

# want FILE ADDRESSES: plans FILE, unless it is there.
want() {
    if [[ -e $1 ]]; then
        present_bytes+=("$(bytes_of "$1")")
    else
        plan "$@"
    fi
}

# probe ADDRESS...: for each a line "HTTP_STATUS SIZE DATE", "-" where the server does not say, up to a lost connection.
probe() {
    curl "${curl_options[@]}" --head --silent --show-error --fail-early --write-out '\n@ %{http_code}\n' "$@" |
        tr -d '\r' | awk '
            BEGIN                            { size = date = "-" }
            /^HTTP\//                        { size = date = "-" } # a redirect has headers of its own
            tolower($1) == "content-length:" { size = $2 }
            tolower($1) == "last-modified:"  { $1 = ""; date = substr($0, 2) }
            $1 == "@"                        { print $2, size, date; size = date = "-" }'
}

# Whether there is something to fetch; a server that knows no HEAD may have the file all the same.
answers() { [[ $1 == 200\ * || $1 == 405\ * || $1 == 501\ * ]]; }

# locate: an address, a size and a date for every planned file.
locate() {
    ((${#plan_files[@]})) || return 0
    local index
    local -a first=()
    for index in "${!plan_files[@]}"; do first+=("${plan_addresses[index]%% *}"); done
    mapfile -t plan_answers < <(probe "${first[@]}")
    for index in "${!plan_files[@]}"; do
        if answers "${plan_answers[index]:-}"; then
            plan_addresses[index]=${first[index]}
        else
            locate_one "$index"
        fi
        [[ ${plan_answers[index]} == 200\ * ]] || plan_answers[index]="200 - -"
    done
}

locate_one() {
    local address answer attempt
    for address in ${plan_addresses[$1]}; do
        for attempt in 1 2 3; do
            answer=$(probe "$address") || true
            if answers "$answer"; then
                plan_addresses[$1]=$address plan_answers[$1]=$answer
                return
            fi
            [[ $answer != 4* || $answer == 429* ]] || break # it is not there, and will not be in a moment
            ((attempt == 3)) || sleep $((attempt * retry_wait))
        done
        echo "$address: not available (HTTP status ${answer%% *})" >&2
    done
    fail "no server has $(basename "${plan_files[$1]}") now: check the connection and run the same command again later"
}

# review FOLDER AT_ONCE: says what will be fetched and what room that takes; AT_ONCE is how many archives lie beside
# what they unpack to. Ends the script after --dry-run, or when the disk is too small.
review() {
    local folder=$1 index size total=0 unpacked free answer
    local -a sizes=(0 "${present_bytes[@]}")
    for index in "${!plan_files[@]}"; do
        answer=${plan_answers[index]#200 } size=${answer%% *}
        ((!dry_run)) || echo "would fetch ${plan_addresses[index]} -> ${plan_files[index]}$(in_words "$size")"
        [[ $size != - ]] || continue
        sizes+=("$size")
        total=$((total + size - $(bytes_of "${plan_files[index]}.part") - $(bytes_of "${plan_files[index]}")))
    done
    unpacked=$(printf '%s\n' "${sizes[@]}" | sort -rn |
        awk -v n="$2" 'NR <= n { sum += $1 } END { printf "%.0f", sum }')
    while [[ ! -d $folder ]]; do folder=$(dirname "$folder"); done
    free=$(df -Pk "$folder" | awk 'NR == 2 { printf "%.0f", $4 * 1024 }')
    echo "files to fetch: ${#plan_files[@]}, $(human "$total"); disk: $(human $((total + unpacked))) needed," \
        "$(human "$free") free in $1"
    if ((total + unpacked > free && !force)); then
        fail "$1 has too little room: free some, choose another folder, or add --force to try all the same"
    fi
    ((!dry_run)) || exit 0
}

# fetch_planned: downloads the whole plan, one file after the other.
fetch_planned() {
    local index
    for index in "${!plan_files[@]}"; do
        download_planned "$index" || exit
    done
}

# download_planned INDEX [MD5S]
download_planned() {
    local size date
    read -r _ size date <<<"${plan_answers[$1]}"
    download "${plan_files[$1]}" "${plan_addresses[$1]}" "$size" "$date" "${2:-}"
}

# download FILE ADDRESS SIZE DATE [MD5S]: FILE, whole, and with one of the given checksums. Exit status 4: the network
# is to blame; 2: this file.
download() (
    file=$1 address=$2 size=$3 part=$1.part from="$2 $3 $4" md5s=${5:-}
    exec 9>>"$part" || fail "$part cannot be written: check the folder and its rights"
    if command -v flock >/dev/null; then
        # Not every network disk can lock; only status 1 means that somebody else has it.
        flock --nonblock 9 || (($? != 1)) || fail "$part is being fetched by another run: wait for it or stop it"
    fi
    if [[ -e $file ]]; then rm -f "$part" && exit 0; fi # another run was quicker
    # Begun from another server, or changed there since: two halves of different files make no file.
    if [[ -e $part.from && $(<"$part.from") != "$from" ]]; then : >"$part"; fi
    printf '%s\n' "$from" >"$part.from"
    echo "fetching $(basename "$file")$(in_words "$size")"
    for attempt in 1 2; do
        transfer
        if [[ -z $md5s || " $md5s " == *" $(md5_of "$part") "* ]]; then
            mv "$part" "$file" || fail "$file cannot be written"
            rm -f "$part.from"
            exit 0
        fi
        : >"$part"
        ((attempt == 2)) || echo "$(basename "$file"): not what its md5 says, fetching it again" >&2
    done
    rm -f "$part" "$part.from"
    fail "$address: its md5 is not the published one ($md5s), twice; run again later or use another server"
)

# transfer: continues `part` until it has `size` bytes; part of download.
transfer() {
    local have now best code http failures=0 pause=$retry_wait
    local -a progress=(--silent --show-error)
    ((quiet)) || [[ ! -t 2 ]] || progress=(--progress-bar)
    best=$(bytes_of "$part")
    while true; do
        have=$(bytes_of "$part")
        [[ $have != "$size" ]] || return 0
        if [[ $size != - ]] && ((have > size)); then : >"$part" && have=0; fi
        code=0
        http=$(curl "${curl_options[@]}" "${progress[@]}" --fail --continue-at "$have" --output "$part" \
            --write-out '%{http_code}' "$address") || code=$?
        now=$(bytes_of "$part")
        case $code:$http in
            0:*) [[ $size != - && $now != "$size" ]] || return 0 ;;
            33:*) # this server sends only whole files
                : >"$part"
                ((have == 0)) || continue
                ;;
            22:416) : >"$part" ;;
            22:408 | 22:429) ;;
            22:4*) fail "$address: the server refuses it (HTTP $http)" ;;
            23:*) fail "$part cannot be written: is the disk full?" ;;
        esac
        if ((now > best)); then best=$now failures=0 pause=$retry_wait; fi
        if ((++failures >= retries)); then
            echo "error: $address broke off $failures times in a row at $(human "$now"):" \
                "run the same command again to go on from there" >&2
            exit 4
        fi
        echo "$(basename "$file") broke off at $(human "$now"), going on in $pause s" >&2
        sleep "$pause"
        pause=$((pause * 2 > 60 ? 60 : pause * 2))
    done
}

# has FOLDER PATTERN: whether FOLDER is filled; an empty one makes way.
has() {
    [[ -e $1 ]] || return 1
    if [[ -n $(find -L "$1" -maxdepth 1 -name "$2" -print -quit) ]]; then
        echo "$1 is there: nothing to do; delete it to fetch it again"
        return 0
    fi
    ((dry_run)) || rmdir "$1" 2>/dev/null || fail "$1 exists and holds no $2: move it away"
    return 1
}

# unpack_flat FOLDER PATTERN ARCHIVE...: FOLDER appears at once, with all files of that PATTERN, without their folders
# and without those named in `left_out`. Then the archives go, unless --keep.
unpack_flat() {
    local folder=$1 pattern=$2 archive name
    shift 2
    rm -rf "$folder.part"
    mkdir -p "$folder.part/archive" "$folder.part/flat" || fail "$folder.part cannot be written"
    for archive in "$@"; do
        echo "unpacking $(basename "$archive")"
        tar -xzf "$archive" -C "$folder.part/archive" || refuse_archive "$archive"
    done
    find "$folder.part/archive" -type f -name "$pattern" -exec mv -f -t "$folder.part/flat" {} +
    for name in "${left_out[@]}"; do rm -f "$folder.part/flat/$name"; done
    [[ -n $(find "$folder.part/flat" -type f -print -quit) ]] || fail "$*: no $pattern in it"
    mv "$folder.part/flat" "$folder"
    rm -rf "$folder.part"
    ((keep)) || rm -f "$@"
    echo "$folder: $(find "$folder" -type f | wc -l | tr -d ' ') files"
}

refuse_archive() {
    if gzip -t "$1" 2>/dev/null; then
        fail "$1 cannot be unpacked, though it is whole: is the disk full?"
    fi
    rm -f "$1"
    fail "$1 was damaged and has been deleted: run the same command again"
}

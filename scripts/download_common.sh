# shellcheck shell=bash disable=SC2030,SC2031,SC2034
# Shared by the download scripts at the root; sourced, not run. Everything is fetched with curl.
#
# A file is fetched as NAME.part and renamed once it is whole and its checksum is right, so a file under its own name
# is finished. NAME.part.from says which file of which server was begun: only that one is continued.
#
# Bash evaluates what stands in (( )), $(( )), [[ -eq ]] and array indices, commands included. So a text from outside (a
# server, a variable of the environment, another program's output) is a number only after is_number has said so.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# number_or TEXT OTHER: TEXT if it is a number, else OTHER; disks may be larger than files.
number_or() { if is_number "$1" 18; then echo "$1"; else echo "$2"; fi; }

retries=${DOWNLOAD_RETRIES:-8}       # attempts in a row that bring no new byte, before giving up
retry_wait=${DOWNLOAD_RETRY_WAIT:-5} # seconds before the second attempt; doubles up to a minute
is_number "$retries" 4 || fail "DOWNLOAD_RETRIES is no number from 0 to 9999"
is_number "$retry_wait" 4 || fail "DOWNLOAD_RETRY_WAIT is no number of seconds from 0 to 9999"
curl_options=(--location --proto '=http,https' --proto-redir '=http,https'
    --connect-timeout 20 --speed-limit 1000 --speed-time 60)
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
                [[ $1 =~ ^--[a-z_-]+(=.*)?$ && $accepted == *" $name "* ]] ||
                    fail "unknown option $1: --help lists the options"
                if [[ $name == jobs ]]; then
                    [[ $1 == *=* || $# -gt 1 ]] || fail "--jobs needs a number"
                    if [[ $1 == *=* ]]; then jobs=${1#*=}; else jobs=$2 && shift; fi
                    [[ $jobs =~ ^[1-9][0-9]?$ ]] || fail "--jobs is $jobs: give a number from 1 to 99"
                else
                    [[ $1 != *=* ]] || fail "--$name takes no value"
                    printf -v "${name//-/_}" 1
                fi
                ;;
            '') fail "an argument is empty: give the path that is meant" ;;
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

bytes_of() { if [[ -e $1 ]]; then number_or "$(wc -c <"$1" | tr -d ' ')" 0; else echo 0; fi; }

md5_of() { md5sum <"$1" | cut -d' ' -f1; }

# addresses "BASES" NAME...: every NAME below every base; all bases have their turn before the next NAME.
addresses() {
    local bases=$1 base name
    shift
    for name in "$@"; do
        for base in $bases; do printf '%s/%s ' "${base%/}" "$name"; done
    done
}

# refuse_stranger FILE: fails where a folder, a pipe or a device stands at FILE or where FILE is made; a pipe would wait
# for ever.
refuse_stranger() {
    local path
    for path in "$1" "$1.part" "$1.part.from"; do
        [[ ! -e $path || -f $path ]] || fail "$path is no plain file: move it away"
    done
}

# plan FILE ADDRESSES: FILE is to come from the first of the addresses (separated by spaces) that has it.
plan() {
    refuse_stranger "$1"
    plan_files+=("$1") plan_addresses+=("$2")
}

# want FILE ADDRESSES: plans FILE, unless it is there.
want() {
    refuse_stranger "$1"
    if [[ -e $1 ]]; then
        present_bytes+=("$(bytes_of "$1")")
    else
        plan "$@"
    fi
}

# probe ADDRESS...: for each a line "HTTP_STATUS SIZE DATE", "-" where the server does not say, up to a lost connection.
# Whatever the server sends, SIZE is digits and DATE is short and printable; a header's second line makes both unknown.
probe() {
    local mark="@$RANDOM$RANDOM$RANDOM" # a line that no server can send in advance
    curl "${curl_options[@]}" --head --silent --show-error --fail-early --write-out "\n$mark %{http_code}\n" "$@" |
        tr -d '\r' | LC_ALL=C awk -v mark="$mark" '
            BEGIN { size = date = "-" }
            $1 == mark { print $2, size, date }
            $1 == mark || /^HTTP\// { size = date = "-" } # a redirect has headers of its own
            /^[ \t]/ { size = date = "-" }
            { name = value = $0; sub(/:.*/, "", name); sub(/^[^:]*:[ \t]*/, "", value); sub(/[ \t]+$/, "", value) }
            tolower(name) == "content-length" {
                size = value ~ /^[0-9]+$/ && length(value) <= 18 ? value : "-"
                sub(/^0+/, "", size)
                if (size == "") size = 0
                if (length(size) > 15) size = "999999999999999" # no disk has room for either
            }
            tolower(name) == "last-modified" {
                date = value ~ /^[A-Za-z0-9 ,:+-]+$/ && length(value) < 50 ? value : "-"
            }'
}

# Whether there is something to fetch; a server that knows no HEAD may have the file all the same.
answers() { [[ $1 == 200\ * || $1 == 405\ * || $1 == 501\ * ]]; }

# locate: an address, a size and a date for every planned file.
locate() {
    ((${#plan_files[@]})) || return 0
    local index status size date
    local -a first=()
    for index in "${!plan_files[@]}"; do first+=("${plan_addresses[index]%% *}"); done
    mapfile -t plan_answers < <(probe "${first[@]}")
    for index in "${!plan_files[@]}"; do
        if answers "${plan_answers[index]:-}"; then
            plan_addresses[index]=${first[index]}
        else
            locate_one "$index"
        fi
        read -r status size date <<<"${plan_answers[index]}"
        [[ $status == 200 ]] || size="-" date="-"
        is_number "$size" || size="-"
        plan_answers[index]="200 $size ${date:--}"
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
    unpacked=$(number_or "$unpacked" 0)
    while [[ ! -d $folder ]]; do folder=$(dirname "$folder"); done
    free=$(number_or "$(df -Pk "$folder" | awk 'NR == 2 { printf "%.0f", $4 < 1e14 ? $4 * 1024 : 1e17 }')" 0)
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

# run_unpacking ARGUMENT...: apart from the current folder, from PYTHONPATH and from what is installed.
run_unpacking() { "$(find_python)" -I -S "$root/scripts/unpack_archive.py" "$@"; }

# prepare_unpacking: finds out before the download whether this Python can unpack.
prepare_unpacking() {
    run_unpacking --help >/dev/null ||
        fail "Python 3.9 or newer is needed to unpack the archives: install python3"
}

# unpack LAYOUT FOLDER ARCHIVE...: see src/data/unpack.py, which also says what is wrong with an archive.
unpack() {
    run_unpacking "${left_out[@]/#/--left_out=}" "$@"
}

# unpack_flat LAYOUT FOLDER ARCHIVE...: FOLDER appears at once, with all files of the LAYOUT without their folders, and
# without those named in `left_out`. Then the archives go, unless --keep.
unpack_flat() {
    unpack --delete_damaged "$@" || exit 2
    ((keep)) || rm -f "${@:3}"
}

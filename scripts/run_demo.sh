#!/usr/bin/env bash
# The whole road on a fresh machine, on a CPU: environment, drawn data set, MindRecord shards, both training stages,
# PCA, matching, retrieval, mAP.txt and report; ends with the table of random, untrained and trained mAP.
#
#   bash scripts/run_demo.sh [WORK_DIR] [--seed N] [--small] [--imagenet_checkpoint FILE]
#
# WORK_DIR (default: demo in the current folder) receives every file. Run again, finished steps are skipped.
# --imagenet_checkpoint trains the attention alone, on ImageNet weights (.h5) that stay as they are.
# --small does all of it on a tenth of the data, to check an installation in a few minutes: its mAPs mean nothing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
work='' seed=0 small=0 imagenet=''
while (($#)); do
    case $1 in
        --seed)
            (($# > 1)) || fail "--seed needs a number"
            seed=$2
            shift
            ;;
        --seed=*) seed=${1#*=} ;;
        --small) small=1 ;;
        --imagenet_checkpoint)
            (($# > 1)) || fail "--imagenet_checkpoint needs a file"
            imagenet=$2
            shift
            ;;
        --imagenet_checkpoint=*) imagenet=${1#*=} ;;
        -h | --help) show_usage "$0"; exit 0 ;;
        -*) fail "unknown option $1: see --help" ;;
        *)
            [[ -z $work ]] || fail "one WORK_DIR, not both $work and $1"
            work=$1
            ;;
    esac
    shift
done
work=${work:-demo}
is_number "$seed" 9 || fail "--seed is '$seed': give a whole number from 0 to 999999999"
[[ -z "$imagenet" || -f "$imagenet" ]] || fail "$imagenet: no such file (--imagenet_checkpoint)"
recipe=(--config "$root/configs/delf_demo.yaml" --seed "$seed")
data_options=(--seed "$seed") train_options=() attn_options=(--initial_lr 0.1) extract_options=()
attn_steps=200 pca_photos=160
if [[ -n "$imagenet" ]]; then # its cells are 32 pixels wide: the small photos are enlarged
    attn_options=(--optimizer adam --initial_lr 0.001 --cache_features true --cache_path "$work/maps"
        --use_augmentation false --image_size 193)
    extract_options=(--min_image_size 192 --image_scales 0.7071,1,1.4142,2 --max_feature_num 60)
fi
if ((small)); then
    data_options+=(--num_classes 8 --photos_per_class 8 --num_eval_landmarks 3 --photos_per_eval_landmark 6
        --queries_per_landmark 2 --num_distractors 6)
    train_options=(--max_iters 6 --batch_size 8) extract_options=(--image_scales 0.7071,1)
    attn_steps=4 pca_photos=40
fi
mkdir -p "$work/logs" || fail "$work cannot be made or written to: give another WORK_DIR"
settings="seed $seed, small $small${imagenet:+, ImageNet weights}"
[[ ! -f "$work/settings" || $(<"$work/settings") == "$settings" ]] ||
    fail "$work: holds the demo of $(<"$work/settings"): give another WORK_DIR for $settings, or delete it"
echo "$settings" >"$work/settings"

names=() seconds=()
# step NAME COMMAND...: runs it in the foreground, keeps its output in logs/NAME.log, stops the demo when it fails.
step() {
    local name=$1 start=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$work/logs/$name.log" || fail "$name failed: its messages are above and in $work/logs/$name.log"
    names+=("$name") seconds+=($((SECONDS - start)))
}
newest() { ls -v "$1"/checkpoint_delf_*.ckpt | tail -n 1; }

start=$SECONDS
printf '== environment\n'
prepare_environment requirements.txt
names+=(environment) seconds+=($((SECONDS - start)))

data=$work/data shards=$work/shards
step data "$python" "$root/tools/make_demo_dataset.py" --output "$data" "${data_options[@]}"
step shards "$python" "$root/build_image_dataset.py" --train_csv_path="$data/gldv2/train/train.csv" \
    --train_clean_csv_path="$data/gldv2/train/train_clean.csv" --train_directory="$data/gldv2/train/*/*/*/" \
    --output_directory="$shards" --num_shards=4 --validation_split_size=0.1 --seed="$seed"

train() { bash "$root/scripts/run_1p_train.sh" "$@" --traindata_path "$shards/train.mindrecord000"; }
if [[ -z "$imagenet" ]]; then
    step tuning train tuning "${recipe[@]}" "${train_options[@]}" --save_ckpt "$work/tuning"
fi
step attn train attn "${imagenet:-$(newest "$work/tuning")}" "${recipe[@]}" "${train_options[@]}" "${attn_options[@]}" \
    --save_ckpt "$work/trained" --max_iters "$attn_steps"
# The baseline is the same network before training: of random weights the usual He initialisation, the stronger one.
step untrained "$python" "$root/tools/make_untrained_checkpoint.py" --config "$root/configs/delf_demo.yaml" \
    --seed "$seed" --kernel_init_gain 1 --residual_gamma 1 ${imagenet:+--imagenet_checkpoint "$imagenet"} \
    --output "$work/untrained/checkpoint_delf_attn-0_0.ckpt"

# learn_pca NAME: on training photos, as a PCA belongs to a network and not to the photos it is tried on.
learn_pca() {
    "$python" "$root/eval/extract_features.py" "${recipe[@]}" "${extract_options[@]}" \
        --images_path "$data/gldv2/train" --num_images $pca_photos \
        --checkpoint_path "$(newest "$work/$1")" --output "$work/$1/pca_sample.h5" &&
        "$python" "$root/tools/learn_pca.py" --config "$root/configs/delf_demo.yaml" \
            --features "$work/$1/pca_sample.h5" --output "$work/$1/pca.npz"
}
for network in untrained trained; do
    step "pca_$network" learn_pca "$network"
done

for network in untrained trained; do
    step "retrieval_$network" bash "$root/scripts/run_eval_retrieval_images.sh" "$data/oxford/jpg" "$data/oxford/gt" \
        "$(newest "$work/$network")" 0 "${recipe[@]}" "${extract_options[@]}" --protocol classic \
        --output_path "$work/$network"
done
rank_randomly() {
    local files=$work/trained/retrieval_files
    "$python" "$root/tools/rank_randomly.py" --seed "$seed" --index "$files/index" \
        --query_features "$files/query_features.h5" --output "$work/random/ranks.npz" &&
        "$python" "$root/eval/compute_map.py" --ranks "$work/random/ranks.npz" \
            --gt_path "$data/oxford/gt" --protocol classic --output "$work/random/mAP.txt"
}
mkdir -p "$work/random"
step retrieval_random rank_randomly

# Pairs of photos as match_images matches them, judged by what the ground truth says of them: then a picture of two photos
# comes with the chance that they show the same place.
judge_pairs() {
    local files=$work/trained/retrieval_files
    "$python" "$root/eval/perform_retrieval.py" --config "$root/configs/delf_demo.yaml" --seed "$seed" \
        --correspondences exact --search_distance 0.8 --num_rerank 0 --index "$files/index" \
        --query_features "$files/query_features.h5" --output "$work/pairs/ranks.npz" &&
        "$python" "$root/tools/calibrate_same_place.py" --ranks "$work/pairs/ranks.npz" --gt_path "$data/oxford/gt" \
            --protocol classic --checkpoint_path "$(newest "$work/trained")" --output_image "$work/pairs/same_place.png" ||
        echo "no calibration: the match picture comes without a chance"
}
mkdir -p "$work/pairs"
((small)) || step same_place judge_pairs # of the few pairs nothing follows
# Two photos of one landmark: a query's own photo and another clear view of it.
query=$(ls "$data"/oxford/gt/*_query.txt | head -n 1)
query_image=$(cut -d ' ' -f 1 "$query" | sed 's/^oxc1_//')
other_image=$(grep -v -x "$query_image" "${query%_query.txt}_good.txt" | head -n 1)
printf '%s.jpg\n' "$query_image" "$other_image" >"$work/list_images.txt"
step match bash "$root/scripts/run_eval_match_images.sh" "$data/oxford/jpg" "$(newest "$work/trained")" 0 "${recipe[@]}" \
    "${extract_options[@]}" --list_images_path "$work/list_images.txt" --output_path "$work"

printf '\n== result: mean average precision, classic protocol, seed %s\n' "$seed"
"$python" "$root/tools/summarise_results.py" random="$work/random/results.json" \
    untrained="$work/untrained/results.json" trained="$work/trained/results.json"
cat <<EOF

files in $work
  eval_match.png               two photos of a landmark and their inliers; $(tail -n 1 "$work/logs/match.log")
  trained/mAP.txt              the figures; trained/results.json has them for each query
  trained/report.html          every query with its best results
  trained/$(basename "$(newest "$work/trained")")   the network, with its pca.npz beside it
  tuning/, trained/            run folders: recipe, log, metrics, checkpoints
  data/, shards/               the drawn photos and their MindRecord shards
  logs/                        what each step printed

seconds
EOF
for i in "${!names[@]}"; do printf '  %-20s %5d\n' "${names[$i]}" "${seconds[$i]}"; done
printf '  %-20s %5d\n' total $((SECONDS - start))

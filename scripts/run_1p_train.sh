#!/usr/bin/env bash
# Train one stage on one device.
#
#   bash scripts/run_1p_train.sh tuning|joint|global|delg|how [CHECKPOINT] [--option value ...]
#   bash scripts/run_1p_train.sh attn|regional_attention CHECKPOINT [--option value ...]
#
# CHECKPOINT is where the stage starts: for attn, one that tuning wrote. The recipe is the published one
# (configs/delf_gldv2.yaml) unless --config names another; its keys are options too: python train.py --help_all.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
split_arguments "$@"
stage_options
exec "$(find_python)" "$root/train.py" "${options[@]}"

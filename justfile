# The same commands without just: CONTRIBUTING.md

set positional-arguments

export PATH := justfile_directory() / ".venv/bin" + ":" + env("PATH")

# list the recipes
default:
    @just --list

# a virtual environment with everything, in .venv
setup:
    python3 -m venv .venv
    pip install -e '.[dev]' --config-settings editable_mode=strict

# the program on its own demo clip
demo *options:
    instrec-live --demo "$@"

test *options:
    pytest "$@"

lint:
    ruff check .
    ruff format --check .

types:
    mypy

contracts:
    lint-imports

# what must pass before a push
check: lint types contracts test

# does the screen follow the demo clip?
benchmark:
    python benchmarks/demo_timeline.py

# draw docs/screen.svg anew
screenshot:
    python docs/screenshot.py

# make the networks anew (hours): folders of single-instrument sounds, unlabelled music, labelled clips, YAMNet's weights
train-bundles sounds music dev init:
    python -m training.phrases --sounds "{{ sounds }}" --to runs/phrases
    python -m training.datasets.music "{{ music }}" --to runs/music.npy
    python -m training.cbam_cnn --phrases runs/phrases --music runs/music.npy --init "{{ init }}" --dev "{{ dev }}" --to runs/cbam_cnn
    python -m training.ms_crnn --phrases runs/phrases --music runs/music.npy --music-share 0.35 --teacher runs/cbam_cnn/weights.pt --dev "{{ dev }}"
    python -m training.passt --phrases runs/phrases --music runs/music.npy --music-share 0.35 --teacher runs/cbam_cnn/weights.pt --dev "{{ dev }}"

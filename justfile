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

# does the same sound give the same answers through every way in? (four minutes; sox and ffmpeg make it whole)
same-sound *options:
    python benchmarks/same_sound.py "$@"

# how soon entries are shown and exits let go, on a folder of labelled solo clips
timing clips *options:
    python benchmarks/timing.py "$@"

# can a trivial probe tell synthetic clips from recordings?
shortcuts *options:
    python benchmarks/shortcuts.py "$@"
    python benchmarks/training_page.py

# clips a second, of the scenes and of training
training-speed phrases sounds:
    python benchmarks/scene_speed.py --phrases "{{ phrases }}" --sounds "{{ sounds }}"
    python benchmarks/training_speed.py --phrases "{{ phrases }}"
    python benchmarks/training_page.py

# a report on labelled clips, e.g. clips:DIR or openmic:DIR
evaluate data *options:
    python -m training.evaluate --data "$@"

# draw docs/screen.svg anew
screenshot:
    python docs/screenshot.py

# make the networks anew (2 to 3 h on two cores; every step resumes): a folder of single-instrument sounds with its
# sources.csv, one of unlabelled music, one of labelled clips, and YAMNet's weights (.npz)
train-bundles sounds music dev init:
    python -m training.phrases --sounds "{{ sounds }}"
    python -m training.phrases --sounds "{{ sounds }}" --to runs/held_out --held-out --count 600
    python -m training.datasets.music "{{ music }}"
    python -m training.cbam_cnn --profile probe --music runs/music.npy --music-share 0.1 --init "{{ init }}" --keep 0 --valid "clips:{{ dev }}" --to runs/probe --no-bundle
    python -m training.cbam_cnn --music runs/music.npy --music-share 0.3 --init "{{ init }}" --valid "clips:{{ dev }}"
    python -m training.ms_crnn --music runs/music.npy --music-share 0.3 --init "{{ init }}" --teacher runs/probe/weights.pt --valid "clips:{{ dev }}"
    python -m training.passt --music runs/music.npy --music-share 0.3 --init "{{ init }}" --teacher runs/probe/weights.pt --valid "clips:{{ dev }}"
    python -m training.ensemble --valid "clips:{{ dev }}" --golden realtime/demo/demo.ogg --to models/bundles

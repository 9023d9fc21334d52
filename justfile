# The same commands without just: CONTRIBUTING.md

set positional-arguments

fluid := "runs/free/fluid-soundfont-gm/usr/share/sounds/sf2/FluidR3_GM.sf2"
musescore := "runs/free/musescore-general-soundfont/usr/share/sounds/sf3/MuseScore_General_Full.sf3"
sonivox := "runs/free/package/dist/soundfont/sonivox.sf2"
avl := "runs/free/avldrums.lv2-soundfont/usr/share/sounds/sf2"
others := "bassoon,french_horn,harmonica,harp,oboe,tuba"

export PATH := justfile_directory() / ".venv/bin" + ":" + env("PATH")

# list the recipes
default:
    @just --list

# a virtual environment with everything, in .venv
setup:
    python3 -m venv .venv
    pip install -e '.[dev]' --config-settings editable_mode=strict

# pin what [dev] needs, anew (needs uv); `just lock --upgrade` for newer versions
lock *options:
    uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
        --excludes requirements-torch.txt --custom-compile-command "just lock" --quiet \
        --output-file requirements-dev.lock "$@"

# are vulnerabilities known in what is pinned? (needs pip-audit, and the network)
audit:
    python .ci/audit.py

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

# what it costs: savings, other ways to do the same, a large network, the budgets, and docs/performance.md (15 min)
cost *options:
    python benchmarks/cost.py
    python benchmarks/peers.py "$@"
    python benchmarks/passt_s.py
    python benchmarks/budgets.py
    python benchmarks/performance_picture.py
    python benchmarks/performance_page.py

# does damaged input end well, or in one line? what has been tried already is kept (ten minutes)
fuzz *options:
    python benchmarks/fuzz.py "$@"
    python benchmarks/fuzz_page.py

# hours of listening, watched: 8 h from a pipe (half an hour), 1 h from a virtual microphone; docs/reliability.md
soak *options:
    python benchmarks/soak.py max "$@"
    python benchmarks/soak.py live "$@"
    python benchmarks/soak_picture.py
    python benchmarks/soak_page.py

# small faults put into the code, one at a time: do the tests notice each? (half an hour)
mutation *options:
    python benchmarks/mutation.py "$@"
    python benchmarks/mutation_page.py

# do all engines say the same of a folder of labelled clips?
engines clips:
    python benchmarks/engines.py "{{ clips }}"

# do networks in 8 bits keep their accuracy, and does it pay? on a folder of labelled clips
int8 clips phrases:
    python benchmarks/int8.py "{{ clips }}" --phrases "{{ phrases }}"

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

# draw docs/pictures/screen-*.svg and watch-*.svg anew
screenshot:
    python docs/screenshot.py
    python docs/screenshot.py --watch

# record docs/session.svg anew: the demo as a film (pip install termtosvg setuptools, somewhere on the PATH)
session:
    termtosvg docs/session.svg -g 80x24 -m 800 -t gjm8 -c 'timeout -s TERM 40 instrec-live --demo'

# what the screen itself costs (two minutes)
screen-cost:
    python benchmarks/screen_cost.py
    python benchmarks/screen_cost.py --list
    python benchmarks/performance_page.py

# many live streams in one process, an archive on a Ray cluster, and docs/scale.md (quarter of an hour)
scale:
    python benchmarks/streams.py
    python benchmarks/cluster.py
    python benchmarks/scale_page.py

# more to learn from, freely licensed, out of Debian's and npm's archives: soundfonts played into runs/soundfonts, the
# music of games in runs/free (ten minutes; needs apt-get, dpkg-deb, npm and the FluidSynth library)
free-sounds:
    mkdir -p runs/packages runs/free
    cd runs/packages && apt-get download fluid-soundfont-gm musescore-general-soundfont freecol flare-game \
        naev-data berusky2-data colobot-common-sounds freedroidrpg-data lordsawar-data \
        extremetuxracer-data starfighter-data warzone2100-music && npm pack @coderline/alphatab@1.8.4
    cd runs/packages && for deb in *.deb; do dpkg-deb -x "$deb" "../free/${deb%%_*}"; done
    tar -xzf runs/packages/coderline-alphatab-1.8.4.tgz -C runs/free
    find runs/free -name '*.video.ogg' -delete
    python -m training.datasets soundfont {{ fluid }} --to runs/soundfonts --licence MIT --name fluidr3_phrases --phrases 40
    python -m training.datasets soundfont {{ musescore }} --to runs/soundfonts --licence MIT --name musescore_phrases --phrases 40 --seed 1
    python -m training.datasets soundfont {{ sonivox }} --to runs/soundfonts --licence Apache-2.0 --name sonivox_phrases --phrases 24 --seed 2

# what was tried beyond (docs/recognition.md, "Strangers"), after `just free-sounds`: notes and instruments that are none
# of the 20 from npm's archive, recorded drum kits, generated synthesisers, into runs/more (five minutes)
more-sounds:
    cd runs/packages && apt-get download avldrums.lv2-soundfont && dpkg-deb -x avldrums.lv2-soundfont_*.deb ../free/avldrums.lv2-soundfont
    for of in bassoon:bassoon french-horn:french_horn tuba:tuba harp:harp saxophone:saxophone flute:flute \
        guitar-acoustic:guitar guitar-electric:guitar guitar-nylon:guitar bass-electric:bass contrabass:bass \
        xylophone:mallet_percussion piano:piano; do package=tonejs-instrument-${of%%:*}-mp3; mkdir -p "runs/free/$package"; \
        (cd runs/packages && npm pack "$package") && tar -xzf runs/packages/$package-*.tgz -C "runs/free/$package" && \
        python -m training.datasets add "runs/free/$package" --to runs/more --instrument "${of##*:}" --kind notes \
            --licence CC-BY-3.0 --name "tonejs_${of%%:*}" --package "npm $package" || exit 1; done
    python -m training.datasets soundfont {{ fluid }} --to runs/more --licence MIT --name fluidr3_phrases --phrases 30 --instruments {{ others }}
    python -m training.datasets soundfont {{ musescore }} --to runs/more --licence MIT --name musescore_phrases --phrases 30 --seed 1 --instruments {{ others }}
    python -m training.datasets soundfont {{ sonivox }} --to runs/more --licence Apache-2.0 --name sonivox_phrases --phrases 24 --seed 2 --instruments {{ others }}
    python -m training.datasets synthesizer --to runs/more --phrases 240
    python -m training.datasets soundfont {{ avl }}/Black_Pearl_4_LV2.sf2 --to runs/more --licence CC-BY-SA-3.0 --name avl_black_pearl --phrases 40 --seed 3 --instruments drums,cymbals
    python -m training.datasets soundfont {{ avl }}/Red_Zeppelin_4_LV2.sf2 --to runs/more --licence CC-BY-SA-3.0 --name avl_red_zeppelin --phrases 40 --seed 4 --instruments drums,cymbals

# what do the networks call instruments that they have no name for? (needs Debian's timgm6mb-soundfont and FluidSynth)
strangers:
    python -m training.datasets soundfont /usr/share/sounds/sf2/TimGM6mb.sf2 --to runs/held_sounds --licence GPL-2 --name sf_timgm6mb --phrases 12 --seed 7 --instruments {{ others }}
    python benchmarks/strangers.py runs/held_sounds
    python benchmarks/recognition_page.py

# make the networks anew, after `just free-sounds` (2 to 3 h on two cores; every step resumes; seed 0, phrases' seed 1):
# a folder of single-instrument sounds with its sources.csv, one of unlabelled music, one of labelled clips, and
# YAMNet's weights (.npz). Minutes of one core, in the order of the lines: 7, 1, 15, 3, 8, 30, 40, 27, 3
train-bundles sounds music dev init:
    python -m training.phrases --sounds "{{ sounds }}" runs/soundfonts --without sf_fluidr3 sf_musescore sf_sonivox --count 10000 --seed 1
    python -m training.phrases --sounds "{{ sounds }}" --to runs/held_out --held-out --count 600
    python -m training.datasets.music "{{ music }}" runs/free --every 9 --shortest 10
    python -m training.mel_bridge "{{ sounds }}" "{{ music }}"
    python -m training.cbam_cnn --profile probe --music runs/music.npy --music-share 0.1 --init "{{ init }}" --keep 0 --valid "clips:{{ dev }}" --to runs/probe --no-bundle
    python -m training.cbam_cnn --music runs/music.npy --music-share 0.3 --init "{{ init }}" --anchor runs/probe/weights.pt --valid "clips:{{ dev }}"
    python -m training.ms_crnn --music runs/music.npy --music-share 0.3 --init "{{ init }}" --teacher runs/probe/weights.pt --valid "clips:{{ dev }}"
    python -m training.passt --music runs/music.npy --music-share 0.3 --init "{{ init }}" --teacher runs/probe/weights.pt --valid "clips:{{ dev }}"
    python -m training.ensemble --valid "clips:{{ dev }}" --golden realtime/demo/demo.ogg --to models/bundles

# how good 2, 3, 5 and 10 s are, and what each setting of the smoothing gives, on a folder of labelled clips (15 min)
spans clips:
    python benchmarks/spans.py "{{ clips }}"
    python benchmarks/timing.py "{{ clips }}" --timelines 16 --sweep

# docs/pictures and the figures of docs/recognition.md, from the files of `just spans` and `just train-bundles`
pictures clips:
    python benchmarks/recognition_pictures.py --reliability runs/cross_validated "{{ clips }}"
    python benchmarks/recognition_page.py

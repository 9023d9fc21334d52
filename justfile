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

# update requirements-dev.lock, the pins of [dev] (needs uv); `just lock --upgrade` for newer versions
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

# does the same sound give the same results for every kind of input? (four minutes; sox and ffmpeg add inputs)
same-sound *options:
    python benchmarks/same_sound.py "$@"

# the delay of entries and exits, on a folder of labelled solo clips
timing clips *options:
    python benchmarks/timing.py "$@"

# what it costs: savings, other ways to do the same, a large network, the budgets, and docs/performance.md (15 min)
cost *options:
    python benchmarks/cost.py
    python benchmarks/peers.py "$@"
    python benchmarks/budgets.py
    python benchmarks/pictures.py
    python benchmarks/pages.py performance

# does damaged input end in one line? kinds that were tried already are kept (ten minutes)
fuzz *options:
    python benchmarks/fuzz.py "$@"
    python benchmarks/pages.py reliability

# hours of listening, watched: 8 h from a pipe (half an hour), 1 h from a virtual microphone; docs/reliability.md
soak *options:
    python benchmarks/soak.py max "$@"
    python benchmarks/soak.py live "$@"
    python benchmarks/pictures.py
    python benchmarks/pages.py reliability

# do the tests detect small faults in the code? (half an hour)
mutation *options:
    python benchmarks/mutation.py "$@"
    python benchmarks/pages.py reliability

# do all engines give the same results on a folder of labelled clips?
engines clips:
    python benchmarks/engines.py "{{ clips }}"

# can a simple probe distinguish synthetic clips from recordings?
shortcuts *options:
    python benchmarks/shortcuts.py "$@"
    python benchmarks/pages.py training

# clips a second, of the scenes and of training
training-speed phrases sounds:
    python benchmarks/scene_speed.py --phrases "{{ phrases }}" --sounds "{{ sounds }}"
    python benchmarks/training_speed.py --phrases "{{ phrases }}"
    python benchmarks/pages.py training

# a report on labelled clips, e.g. clips:DIR or openmic:DIR
evaluate data *options:
    python -m training.evaluate --data "$@"

# redraw docs/pictures/screen-*.svg and watch-*.svg
screenshot:
    python docs/screenshot.py
    python docs/screenshot.py --watch

# redraw docs/session.svg, the README's moving picture
session:
    python docs/session.py

# what the screen itself costs (two minutes)
screen-cost:
    python benchmarks/screen_cost.py
    python benchmarks/screen_cost.py --list
    python benchmarks/pages.py performance

# many live streams in one process, an archive on a Ray cluster, and their tables in docs/ (quarter of an hour)
scale:
    python benchmarks/streams.py
    python benchmarks/cluster.py
    python benchmarks/pages.py watch archive engines

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
    python -m training.data soundfont {{ fluid }} --to runs/soundfonts --licence MIT --name fluidr3_phrases --phrases 40
    python -m training.data soundfont {{ musescore }} --to runs/soundfonts --licence MIT --name musescore_phrases --phrases 40 --seed 1
    python -m training.data soundfont {{ sonivox }} --to runs/soundfonts --licence Apache-2.0 --name sonivox_phrases --phrases 24 --seed 2

# what was tried beyond (benchmarks/experiments.md), after `just free-sounds`: notes and instruments that are none
# of the 20 from npm's archive, recorded drum kits, generated synthesisers, into runs/more (five minutes)
more-sounds:
    cd runs/packages && apt-get download avldrums.lv2-soundfont && dpkg-deb -x avldrums.lv2-soundfont_*.deb ../free/avldrums.lv2-soundfont
    for of in bassoon:bassoon french-horn:french_horn tuba:tuba harp:harp saxophone:saxophone flute:flute \
        guitar-acoustic:guitar guitar-electric:guitar guitar-nylon:guitar bass-electric:bass contrabass:bass \
        xylophone:mallet_percussion piano:piano; do package=tonejs-instrument-${of%%:*}-mp3; mkdir -p "runs/free/$package"; \
        (cd runs/packages && npm pack "$package") && tar -xzf runs/packages/$package-*.tgz -C "runs/free/$package" && \
        python -m training.data add "runs/free/$package" --to runs/more --instrument "${of##*:}" --kind notes \
            --licence CC-BY-3.0 --name "tonejs_${of%%:*}" --package "npm $package" || exit 1; done
    python -m training.data soundfont {{ fluid }} --to runs/more --licence MIT --name fluidr3_phrases --phrases 30 --instruments {{ others }}
    python -m training.data soundfont {{ musescore }} --to runs/more --licence MIT --name musescore_phrases --phrases 30 --seed 1 --instruments {{ others }}
    python -m training.data soundfont {{ sonivox }} --to runs/more --licence Apache-2.0 --name sonivox_phrases --phrases 24 --seed 2 --instruments {{ others }}
    python -m training.data synthesizer --to runs/more --phrases 240
    python -m training.data soundfont {{ avl }}/Black_Pearl_4_LV2.sf2 --to runs/more --licence CC-BY-SA-3.0 --name avl_black_pearl --phrases 40 --seed 3 --instruments drums,cymbals
    python -m training.data soundfont {{ avl }}/Red_Zeppelin_4_LV2.sf2 --to runs/more --licence CC-BY-SA-3.0 --name avl_red_zeppelin --phrases 40 --seed 4 --instruments drums,cymbals

# how do the networks label instruments that are not among the 20? (needs Debian's timgm6mb-soundfont and
# csound-soundfont, and FluidSynth)
distractors:
    python -m training.data soundfont /usr/share/sounds/sf2/TimGM6mb.sf2 --to runs/held_sounds --licence GPL-2 --name sf_timgm6mb --phrases 12 --seed 7 --instruments {{ others }}
    python -m training.data soundfont /usr/share/sounds/sf2/sf_GMbank.sf2 --to runs/held_sounds --licence LGPL-2.1+ --name sf_gmbank --phrases 12 --seed 8 --instruments {{ others }}
    python benchmarks/distractors.py runs/held_sounds
    python benchmarks/pages.py recognition

# how good is `learn`: cross-validated, live, and for the 20 instruments? (needs Debian's timgm6mb-soundfont and
# sonic-pi-samples, FluidSynth, and two folders of labelled clips: solos, bands)
learn soundfont samples solos bands:
    python benchmarks/learn.py --soundfont "{{ soundfont }}" --tabla "{{ samples }}" --solos "{{ solos }}" --bands "{{ bands }}"
    python benchmarks/pages.py own-instruments

# retrain the networks, after `just free-sounds` (half a day on two cores; every step resumes): a folder of
# single-instrument sounds with its sources.csv, one of unlabelled music, two of labelled clips (solos, bands), and the
# weights of mn04_as (.npz)
train-bundles sounds music solos bands mn04:
    python -m training.release --sounds "{{ sounds }}" --music "{{ music }}" --music runs/free --solos "{{ solos }}" --bands "{{ bands }}" --mn04 "{{ mn04 }}" --golden realtime/demo/demo.ogg


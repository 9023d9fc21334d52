"""Bundles that were altered, and that they are refused."""

import hashlib
import json
import re

import pytest

from instrec_live.models.bundle import Bundle, summed
from instrec_live.models.errors import ModelError


def edit(bundle, change):
    """Alter the manifest as `change(manifest)` does, and its checksum with it."""
    file = bundle.path / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(summed(manifest)))


def replace_file(bundle, file, content):
    """Put other content in, checksum and all."""
    (bundle.path / file).write_bytes(content)
    edit(bundle, lambda manifest: manifest["sha256"].update({file: hashlib.sha256(content).hexdigest()}))


HINT = "reinstall instrec-live, or export the bundle again with python -m instrec_live.models.export"


def refused(bundle, words, hint=HINT):
    with pytest.raises(ModelError) as caught:
        Bundle.load(bundle.path)
    assert "\n" not in str(caught.value)
    assert caught.value.message.startswith(str(bundle.path))
    said = caught.value.message.removeprefix(str(bundle.path))  # pytest names the folder after the test
    assert re.search(words, said), said
    assert caught.value.hint == hint

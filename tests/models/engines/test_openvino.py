"""OpenVINO's results are checked, because with too little memory it gives an earlier one without an error."""

from types import SimpleNamespace

import numpy as np
import pytest

from instrec_live.models.engines.openvino import OpenVinoEngine
from instrec_live.models.errors import ModelError


def test_a_result_of_other_windows_is_refused():
    engine = object.__new__(OpenVinoEngine)
    result = SimpleNamespace(data=np.zeros((1, 20), np.float32))
    engine._model = "passt"
    engine._request = SimpleNamespace(infer=lambda inputs: None, get_tensor=lambda name: result)
    assert engine.logits(np.zeros((1, 128, 200), np.float32)).shape == (1, 20)
    with pytest.raises(ModelError, match="passt gave 1 results for 3 windows"):
        engine.logits(np.zeros((3, 128, 200), np.float32))

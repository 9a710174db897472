from __future__ import annotations

import subprocess
import sys

from pipeline.matching.worker import MatcherConfig
from services.matcher import assignment, bus_config
from services.settings import MatchingSettings


def test_the_matcher_starts_without_torch() -> None:
    code = "import sys, services.matcher; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_set_threshold_counts_where_the_model_says_nothing() -> None:
    assert assignment(MatchingSettings(threshold=0.7), None).threshold == 0.7
    assert assignment(MatchingSettings(), None).threshold == assignment(MatchingSettings(), None).midpoint


def test_what_was_in_hand_comes_back_as_one_batch() -> None:
    assert bus_config(MatcherConfig(batch_tracklets=17)).redelivery_count == 17

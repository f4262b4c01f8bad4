"""The verifier `random`: repeatable, of the right share, different for each prompt, response and seed."""

from __future__ import annotations

import json

import pytest
from config_case import changed, message

from astarpo.data import datasets
from astarpo.data.settings import DatasetSettings
from astarpo.rewards.grading import Question, grade
from astarpo.rewards.random_reward import random
from astarpo.rewards.settings import GradingSettings
from astarpo.rewards.verifiers import Response

SOURCE = {"kind": "chain_sum", "count": 400, "min_terms": 2, "max_terms": 3}


def golds(**more):
    settings = DatasetSettings(source=SOURCE, verifier="random", **more)
    rows, _ = datasets.prepare(settings, "sums")
    return [row["gold"] for row in rows]


def correct(gold, text):
    return random(gold, Response(text, [], "stop")).status == "correct"


def answers(some, texts):
    return [correct(gold, text) for gold in some for text in texts]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_share_of_correct_responses_is_that_of_the_settings(share):
    """Of 4,000 tosses; four standard errors."""
    found = answers(golds(random_reward={"share": share})[:200], map(str, range(20)))
    assert abs(sum(found) / len(found) - share) < 4 * (share * (1 - share) / len(found)) ** 0.5


def test_the_prompt_the_response_and_the_seed_decide_and_nothing_else():
    texts = [str(n) for n in range(200)]
    first, second = golds()[:2]
    assert json.loads(first).keys() == {"prompt", "seed", "share"}
    mine = answers([first], texts)
    assert mine == answers([first], texts) == answers([golds()[0]], texts)
    for other in (second, golds(random_reward={"seed": 1})[0]):
        same = sum(one == another for one, another in zip(mine, answers([other], texts), strict=True))
        assert 60 < same < 140  # of 200, as for independent coins
    longer = random(first, Response(texts[0], [1, 2, 3], "length"))
    assert (longer.status == "correct") is mine[0]


def test_the_coin_does_not_care_whether_a_response_was_cut_off():
    """A verifier that read the text would have the settings count a truncated response as incorrect."""
    settings = GradingSettings(truncated="incorrect")
    texts = [str(n) for n in range(60)]
    gold = golds()[0]
    for verifier, answer in (("random", gold), ("gsm8k_flexible", "7")):
        rewards = {}
        for reason in ("stop", "length"):
            asked = [Question(verifier, answer, Response(text, [], reason)) for text in texts]
            rewards[reason] = [one.reward for one in grade(asked, settings)]
        assert 0 < sum(rewards["stop"]) < 60
        if verifier == "random":
            assert rewards["length"] == rewards["stop"]
        else:
            assert sum(rewards["length"]) == 0


def test_two_prompts_with_one_answer_have_two_coins():
    """10 of 400 problems have the same text: the second one is another prompt."""
    every = golds(drop_duplicates=False)
    assert len(set(every)) == len(every)


def test_a_coin_for_another_verifier_is_refused():
    assert message(changed(datasets__sums__random_reward={"share": 0.3})).endswith(
        "datasets.sums.random_reward: has no effect with verifier 'integer'; use `random`, or remove it"
    )
    raw = changed(datasets__sums__verifier="random", datasets__sums__random_reward={"share": 0.0})
    assert "datasets.sums.random_reward.share" in message(raw)


def test_a_gold_answer_of_another_verifier_is_an_error():
    with pytest.raises(ValueError, match="Expecting value"):
        random("twelve", Response("12", [], "stop"))

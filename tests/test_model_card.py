"""The model card: what it says, and that equal runs get equal ones."""

import json

from astarpo.training.model_card import model_card

SETTINGS = {
    "method": "a_star_po",
    "hyperparameters": {"beta2": 1e-3},
    "steps": 20,
    "prompts_per_batch": 4,
    "updates_per_rollout": 1,
    "lr": 1e-4,
    "lr_schedule": "linear",
    "sampling": {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 8},
    "prompting": {"chat_template": False, "system_prompt": None, "max_prompt_tokens": 9},
}
MADE_FROM = {
    "settings": json.dumps(SETTINGS),
    "inputs": {"reference": "ab", "dataset": "cd"},
    "seed": 3,
}
METRICS = [{"step": 0, "reward": None, "kl_per_sequence": None}] + [
    {"step": step, "reward": step / 20, "kl_per_sequence": 0.5} for step in range(1, 21)
]
FACTS = {"prompts": 17, "exported_step": 12, "last_step": 20, "ended_by": "kl_per_sequence"}


def test_the_card_says_what_the_run_was():
    card = model_card(MADE_FROM, METRICS, FACTS)
    assert card.startswith("---\nlibrary_name: transformers\n")
    for line in (
        "| method | a_star_po (beta2 = 0.001) |",
        "| seed | 3 |",
        "| training prompts | 17 |",
        "| exported | the policy after step 12 of 20; the training ended by `kl_per_sequence` |",
        "| reward on training prompts | 0.075 in the first tenth of the steps, 0.975 in the last |",
        "| KL to the reference | 0.500 nats per response in the last tenth |",
        "| dataset | `cd` |\n| reference | `ab` |",
    ):
        assert line in card
    assert json.loads(card.split("```json\n")[1].split("\n```")[0]) == SETTINGS


def test_equal_runs_get_equal_cards():
    assert model_card(MADE_FROM, METRICS, FACTS) == model_card(MADE_FROM, METRICS, FACTS)

"""The table of terms, computed by hand."""

import pandas as pd
import pytest

from astarpo.tables import terms_table


def run(name, seed, responses=1, **changes):
    terms = {
        "dataset": "d",
        "selection": "s",
        "prompts_per_batch": 4,
        "responses_per_prompt": responses,
        "updates_per_rollout": 1,
        **changes,
    }
    return {"run": name, "seed": seed, "terms": terms}


def cost(name, method, seed, tokens):
    return {"run": name, "method": method, "seed": seed, "generated_tokens": tokens}


def looks(name, seed, values, seconds=10.0):
    """Validation at steps 0, 5, 10, ..., each step taking so long."""
    return [
        {
            "run": name,
            "seed": seed,
            "step": 5 * i,
            "seconds": 5 * i * seconds,
            "name": "validation_reward",
            "value": value,
        }
        for i, value in enumerate(values)
    ]


RUNS = [run("ours", 0), run("ours", 1), run("grpo", 0, 8), run("grpo", 1, 8)]


def test_equal_updates():
    costs = [cost("ours", "a_star_po", s, 100 + s) for s in (0, 1)]
    costs += [cost("grpo", "grpo", s, 800) for s in (0, 1)]
    curves = [row for r in RUNS for row in looks(r["run"], r["seed"], [0.1, 0.2])]
    made = terms_table(RUNS, pd.DataFrame(costs), pd.DataFrame(curves))
    assert made.title.endswith("equal: prompts and their order, number of updates; not equal: generated tokens")
    assert made.texts == [
        ["ours", "d, s", "4", "1", "5", "100"],
        ["grpo", "d, s", "4", "8", "5", "800"],
    ]


def test_equal_tokens_within_a_batch():
    costs = [cost("ours", "a_star_po", 0, 990), cost("grpo", "grpo", 0, 1000)]
    curves = [*looks("ours", 0, [0.1] * 9), *looks("grpo", 0, [0.1, 0.2])]
    made = terms_table([run("ours", 0), run("grpo", 0, 8)], pd.DataFrame(costs), pd.DataFrame(curves))
    assert "equal: prompts and their order, generated tokens; not equal: number of updates" in made.title


@pytest.mark.parametrize("change", [{"selection": None}, {"dataset": "e"}, {"prompts_per_batch": 8}])
def test_other_prompts_are_told(change):
    costs = [cost("ours", "a_star_po", 0, 10), cost("b", "grpo", 0, 10)]
    curves = [*looks("ours", 0, [0, 1]), *looks("b", 0, [0, 1])]
    made = terms_table([run("ours", 0), run("b", 0, **change)], pd.DataFrame(costs), pd.DataFrame(curves))
    assert made.title.endswith("not equal: prompts and their order")


def test_a_run_alone_has_no_terms():
    assert terms_table([run("ours", 0)], pd.DataFrame(), pd.DataFrame()) is None

"""Seconds of phases by hand: a model, a card and numbers of tokens that are round."""

from __future__ import annotations

import pytest

from astarpo.common.cards import CARDS, Card
from astarpo.memory.shape import ModelShape
from astarpo.planning import roofline
from astarpo.planning.roofline import Drawing, Tokens, exchange_s, forward_s, step_s, transformers_s, update_s, vllm_s

# 1,000 weights in the layers' matrices and as many in a tied head; 2 layers, queries 10 wide, keys and values 5.
SHAPE = ModelShape(2, 100, 10, 2, 1, 5, 10, True, 2000)
TOKENS = Tokens(rows=10, prompt=40, response=60, micro_batches=5)


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """The makers' numbers are reached, and Python takes no time."""
    for name in ("MFU", "MEMORY"):
        monkeypatch.setattr(roofline, name, 1.0)
    for name in ("FORWARD", "BACKWARD", "TOKEN"):
        monkeypatch.setattr(roofline, f"{name}_LAUNCH_S", 0.0)
    for name in ("PYTHON_TOKEN_S", "PYTHON_STEP_S", "GPU_STEP_S"):
        monkeypatch.setattr(roofline, name, 0.0)


COMPUTES = Card("slow at products", 1, 1e3, 1e30, 1e3)
MOVES = Card("slow at moving", 1, 1e30, 1e3, 1e3)
FAST = Card("fast", 1, 1e30, 1e30, 1e30)


@pytest.mark.usefixtures("whole")
def test_products_and_attention_of_a_forward_pass() -> None:
    # 1,000 tokens through 1,000 weights, 600 through the head; 2 layers, 10 wide, 100 / 2 pairs a token.
    products, attention = 2 * 1000 * 1000 + 2 * 600 * 1000, 4 * 2 * 10 * 1000 * 50
    assert forward_s(SHAPE, COMPUTES, "bfloat16", TOKENS) == pytest.approx((products + attention) / 1e3)
    plain = update_s(SHAPE, COMPUTES, "bfloat16", TOKENS)
    assert plain == pytest.approx((3 * products + 3.5 * attention) / 1e3)
    again = update_s(SHAPE, COMPUTES, "bfloat16", TOKENS, recompute=True)
    assert again == pytest.approx((4 * products + 4.5 * attention) / 1e3)
    frozen = update_s(SHAPE, COMPUTES, "bfloat16", TOKENS, frozen=True)
    assert frozen == pytest.approx((2 * products + 3.5 * attention) / 1e3)


@pytest.mark.usefixtures("whole")
def test_bytes_of_passes() -> None:
    logits = 10 * 600  # entries
    assert forward_s(SHAPE, MOVES, "bfloat16", TOKENS) == pytest.approx((2 * 2000 * 5 + 28 * logits) / 1e3)
    # Read forward and backward, and perhaps once more; gradients in bf16 written and read, their sum read and written.
    assert update_s(SHAPE, MOVES, "bfloat16", TOKENS) == pytest.approx((16 * 2000 * 5 + 52 * logits) / 1e3)
    assert update_s(SHAPE, MOVES, "bfloat16", TOKENS, True) == pytest.approx((18 * 2000 * 5 + 52 * logits) / 1e3)


def test_many_small_micro_batches_wait_for_python() -> None:
    # 5 micro-batches of 2 layers with 39.7 kernels forward and 88.6 backward.
    assert forward_s(SHAPE, FAST, "bfloat16", TOKENS) == pytest.approx(5 * 2 * 39.7 * 7e-6)
    assert update_s(SHAPE, FAST, "bfloat16", TOKENS) == pytest.approx(5 * 2 * (39.7 * 7e-6 + 88.6 * 5e-6))
    assert update_s(SHAPE, FAST, "bfloat16", TOKENS, True) == pytest.approx(5 * 2 * (2 * 39.7 * 7e-6 + 88.6 * 5e-6))


@pytest.mark.usefixtures("whole")
def test_steps_and_exchanges() -> None:
    assert step_s(MOVES, 2000, 4) == pytest.approx(28 * 500 / 1e3)
    assert exchange_s(MOVES, 2000, 1, 2, 5) == 0
    once = 2 * 2000 * 3 / 4 / 1e3  # bf16, three quarters come from others
    times = {stage: exchange_s(MOVES, 2000, 4, stage, 5) for stage in range(4)}
    assert times == {0: 2 * once, 1: 2 * once, 2: 6 * once, 3: 15 * once}


@pytest.mark.usefixtures("whole")
def test_vllm_reads_the_weights_for_each_token() -> None:
    tokens = ModelShape(0, 100, 10, 2, 1, 5, 10, True, 2000)  # without layers there are no keys and values
    # 10 places: a step reads 4,000 bytes. 30 responses of 6 tokens: 20 fill two waves, the last end after 12.
    drawn = vllm_s(tokens, MOVES, Drawing(30, 0, 12, 10))
    assert drawn == pytest.approx((2 * 6 + 12) * 4000 / 1e3)
    assert vllm_s(tokens, MOVES, Drawing(10, 0, 12, 10)) == pytest.approx(12 * 4)
    assert vllm_s(tokens, MOVES, Drawing(10, 0, 12, 10), cards=2) == pytest.approx(12 * 2)


@pytest.mark.usefixtures("whole")
def test_vllm_reads_keys_and_values_of_what_is_under_way() -> None:
    weightless = ModelShape(2, 100, 10, 2, 1, 5, 10, True, 0)
    # 40 bytes a token. n (1 - x) responses of 1,000 x tokens after a share x: the mean of x (1 - x) is 1/6.
    ending = 1000 * 9 * (1000 / 6) * 40 / 1e3
    assert vllm_s(weightless, MOVES, Drawing(9, 0, 1000, 9)) == pytest.approx(ending, rel=1e-4)
    # Two waves of 500 steps with 9 places at a third of the length.
    full = 2 * 500 * 9 * (1000 / 3) * 40 / 1e3
    assert vllm_s(weightless, MOVES, Drawing(27, 0, 1000, 9)) == pytest.approx(full + ending, rel=1e-4)


def test_vllm_waits_for_python() -> None:
    # On average half of 100 places are taken while the last ones end; each step takes 0.8 ms, each token 32 us.
    drawn = vllm_s(SHAPE, FAST, Drawing(100, 0, 1000, 100))
    assert drawn == pytest.approx(
        sum(max(1.8e-3, 100 * (1 - t / 1000) * 32e-6 + 0.8e-3) for t in range(1000)), rel=1e-3
    )


@pytest.mark.usefixtures("whole")
def test_transformers_takes_the_longest_for_each_batch() -> None:
    # 3 batches of 12 tokens; 10 x 6 tokens of 40 bytes, moved 1.5 times, and bf16 weights.
    drawn = transformers_s(SHAPE, MOVES, "bfloat16", Drawing(25, 0, 12, 10))
    assert drawn == pytest.approx(3 * 12 * (2 * 2000 + 10 * 6 * 40 * 1.5) / 1e3)


def test_a_28_layer_model_takes_20_ms_a_token_in_transformers() -> None:
    """As counted and measured: 1,274 kernels in 20 to 21 ms; Qwen's own table has 20 ms for 24 layers on an A100."""
    shape = ModelShape(28, 1536, 8960, 12, 2, 128, 151_936, True, 1_543_714_304)
    h100 = next(card for card in CARDS if card.name == "H100")
    token = transformers_s(shape, h100, "bfloat16", Drawing(256, 130, 1024, 256))
    assert token is not None and token / 1024 == pytest.approx(0.020, rel=0.02)


def test_speeds_that_are_not_known() -> None:
    unknown = Card("new", 1)
    assert forward_s(SHAPE, unknown, "bfloat16", TOKENS) is None
    assert update_s(SHAPE, unknown, "bfloat16", TOKENS) is None
    assert vllm_s(SHAPE, unknown, Drawing(1, 1, 1, 1)) is None
    assert step_s(unknown, 1, 1) is None and exchange_s(unknown, 1, 2, 2, 1) is None
    assert forward_s(SHAPE, FAST, "float32", TOKENS) is None  # the table has bf16 only

"""Log-probabilities of responses: against a table, by another route, and under padding."""

from types import SimpleNamespace

import pytest
import torch
from transformers import masking_utils

from astarpo.model.log_probs import collate, response_length, token_log_probs

END = [1]


class TableModel:
    """Next-token logits that depend on the current token alone, from a table."""

    def __init__(self, table_VV):
        self.table_VV = table_VV

    def __call__(self, input_ids, use_cache, logits_to_keep):
        return SimpleNamespace(logits=self.table_VV[input_ids[:, -logits_to_keep:]])


def test_product_of_known_probabilities():
    probabilities = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4], [0.5, 0.25, 0.25]])
    model = TableModel(probabilities.log())
    batch = collate([[0]], [[2, 0, 1]], END)  # 0 -> 2 -> 0 -> 1
    found_BT, _ = token_log_probs(model, batch, 1.0)
    assert found_BT.exp().tolist()[0] == pytest.approx([0.7, 0.5, 0.2])


def test_changing_a_token_changes_its_own_and_later_log_probs_only(tiny_policy):
    base = collate([[5, 6]], [[7, 8, 9, 10]], END)
    other = collate([[5, 6]], [[7, 8, 20, 10]], END)
    first, _ = token_log_probs(tiny_policy.model, base, 1.0)
    second, _ = token_log_probs(tiny_policy.model, other, 1.0)
    same = torch.isclose(first, second, atol=1e-6)[0].tolist()
    assert same == [True, True, False, False]


def test_equals_full_softmax_at_another_temperature(tiny_policy):
    prompt, response = [5, 6, 7], [8, 9, 1]
    batch = collate([prompt], [response], END)
    found_BT, entropy_BT = token_log_probs(tiny_policy.model, batch, 0.7, entropy="detached")
    with torch.no_grad():
        logits_SV = tiny_policy.model(torch.tensor([prompt + response])).logits[0]
    all_SV = torch.log_softmax(logits_SV / 0.7, -1)
    expected = [all_SV[2 + t, token].item() for t, token in enumerate(response)]
    assert found_BT[0].tolist() == pytest.approx(expected, abs=1e-5)
    by_hand = -(all_SV[2].exp() * all_SV[2]).sum().item()
    assert entropy_BT[0, 0].item() == pytest.approx(by_hand, abs=1e-5)
    assert not entropy_BT.requires_grad


def test_padding_and_company_change_nothing(tiny_policy):
    prompts, responses = [[5, 6], [5, 6, 7, 8, 9]], [[10, 11, 1], [12, 13, 14, 15, 16, 1]]
    together, _ = token_log_probs(tiny_policy.model, collate(prompts, responses, END), 1.0)
    for row in range(2):
        alone, _ = token_log_probs(tiny_policy.model, collate([prompts[row]], [responses[row]], END), 1.0)
        length = len(responses[row])
        assert torch.allclose(together[row, :length], alone[0], atol=1e-5)
        assert (together[row, length:] == 0).all()


@pytest.mark.parametrize(
    ("tokens", "ends", "length"),
    [
        ([5, 6, 1, 0, 0], [1], 3),  # padding after the end token
        ([5, 6, 1, 1, 1], [1], 3),  # the pad token is the end token
        ([5, 6, 7], [1], 3),  # cut at the limit: every token counts
        ([5, 3, 1], [1, 3], 2),  # each of several end tokens ends it
        ([1, 5], [1], 1),
    ],
)
def test_response_length_counts_the_first_end_token(tokens, ends, length):
    assert response_length(tokens, ends) == length
    assert int(collate([[2]], [tokens], ends).mask_BT.sum()) == length


def test_entropy_with_gradient_has_one(tiny_policy):
    batch = collate([[5]], [[6, 1]], END)
    _, entropy_BT = token_log_probs(tiny_policy.model, batch, 1.0, entropy="with_gradient")
    assert entropy_BT.requires_grad


def test_half_precision_logits_are_taken_to_fp32():
    table = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    found_BT, _ = token_log_probs(TableModel(table), collate([[2]], [[3, 4, 1]], END), 1.0)
    assert found_BT.dtype == torch.float32
    expected = torch.log_softmax(table.float(), -1)[[2, 3, 4], [3, 4, 1]]
    assert torch.allclose(found_BT[0], expected, atol=1e-6)


def test_a_log_prob_that_is_not_finite_is_an_error():
    table = torch.zeros(3, 3)
    table[0, 2] = float("-inf")
    with pytest.raises(FloatingPointError, match="not finite"):
        # The first token's is finite, that of the second is not.
        token_log_probs(TableModel(table), collate([[0]], [[0, 2]], END), 1.0)


def test_rows_are_not_searched_for_packed_ones_and_no_bit_changes(tiny_policy, monkeypatch):
    batch = collate([[5, 6], [7, 8, 9]], [[10, 11, 12], [13]], tiny_policy.end_token_ids)
    model, found = tiny_policy.model, []
    for share in (False, True):
        model.zero_grad()
        log_probs_BT, _ = token_log_probs(model, batch, 1.0, share_prefix=share)
        log_probs_BT.sum().backward()
        found.append([log_probs_BT.detach(), *(weight.grad.clone() for weight in model.parameters())])
        # From now on, a search fails.
        monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", None)
    model.zero_grad()
    assert all(torch.equal(plain, cached) for plain, cached in zip(*found, strict=True))

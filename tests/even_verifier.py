"""A verifier that judges half of a random model's responses right."""


def even(gold, response):
    """Right is a response with an even number of characters; the model has no part in that."""
    return len(response.text) % 2 == 0

"""Learnable words stand where the placeholders stood, and nothing else moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

from pipeline.errors import ConfigurationError
from reid_models.encoder import PersonEncoder, person_cnn_architecture, sub_word_tokenizer
from reid_models.prompts import (
    CLASS_TEMPLATE,
    DOMAIN_TEMPLATE,
    PromptLearner,
    prompt_features,
    read_template,
)
from reid_models.vocabulary import Vocabulary, learn_vocabulary

CONTEXT, WIDTH = 24, 8
CLOSED = learn_vocabulary([], 1, kept=[CLASS_TEMPLATE, DOMAIN_TEMPLATE])
Tokenizer = Callable[[Sequence[str]], Tensor]
TOKENIZERS: dict[str, tuple[Tokenizer, int]] = {
    "sub_words": (sub_word_tokenizer(CONTEXT), 49408),
    "closed": (partial(CLOSED.encode, context_length=CONTEXT), CLOSED.size),
}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> tuple[Tokenizer, nn.Embedding]:
    tokenize, size = TOKENIZERS[request.param]
    torch.manual_seed(0)
    return tokenize, nn.Embedding(size, WIDTH)


def learner_of(tokenizer: tuple[Tokenizer, nn.Embedding], domains: int = 2) -> PromptLearner:
    tokenize, embedding = tokenizer
    dice = torch.Generator().manual_seed(1)
    return PromptLearner(CLASS_TEMPLATE, tokenize, embedding, classes=5, domains=domains, generator=dice)


@pytest.mark.parametrize("with_domain", [False, True])
def test_every_fixed_word_survives_at_its_place(tokenizer: tuple[Tokenizer, nn.Embedding], with_domain: bool) -> None:
    tokenize, embedding = tokenizer
    learner = learner_of(tokenizer)
    class_ids, domain_ids = torch.tensor([3, 0]), torch.tensor([1, 0]) if with_domain else None
    prompts, ends = learner.prompts(class_ids, domain_ids)
    (row,) = tokenize([DOMAIN_TEMPLATE if with_domain else CLASS_TEMPLATE])
    (class_token,), (domain_token,) = (tokenize([word])[:, 1].tolist() for word in ("X", "D"))
    end = int(row.argmax())
    assert ends.tolist() == [end, end] and prompts.shape == (2, end + 1, WIDTH)
    seen = 0
    for place, token in enumerate(row[: end + 1].tolist()):
        for prompt, class_id, domain_id in zip(prompts, (3, 0), (1, 0), strict=True):
            if token == class_token:
                assert torch.equal(prompt[place], learner.class_tokens[class_id, seen])
            elif token == domain_token and with_domain:
                assert torch.equal(prompt[place], learner.domain_tokens[domain_id, 0])
            else:
                assert torch.equal(prompt[place], embedding.weight[token])
        seen += token == class_token
    assert seen == 4


def test_person_full_stop_and_end_mark_follow_the_learnt_words() -> None:
    template = read_template(CLASS_TEMPLATE, TOKENIZERS["sub_words"][0])
    tokens = SimpleTokenizer()
    words = [tokens.decoder[token] for token in template.token_ids]
    assert words[1:5] == ["a</w>", "photo</w>", "of</w>", "a</w>"]
    assert template.class_positions == (5, 6, 7, 8)
    assert words[9:] == ["person</w>", ".</w>", "<end_of_text>"] and template.end_position == 11
    with_domain = read_template(DOMAIN_TEMPLATE, TOKENIZERS["sub_words"][0])
    assert with_domain.domain_positions == (11,)
    assert [tokens.decoder[token] for token in with_domain.token_ids[12:15]] == ["data", "set</w>", ".</w>"]


def test_prompts_of_a_template_without_learnt_words_are_the_sentence(
    tokenizer: tuple[Tokenizer, nn.Embedding],
) -> None:
    tokenize, embedding = tokenizer
    learner = learner_of(tokenizer)
    with torch.no_grad():
        learner.class_tokens[:] = embedding(tokenize(["X"])[0, 1])
    (row,) = tokenize([CLASS_TEMPLATE])
    prompts, ends = learner.prompts(torch.tensor([2]))
    assert torch.equal(prompts[0], embedding(row[: int(ends[0]) + 1]))


def test_gradients_reach_the_drawn_classes_and_domains_only(tokenizer: tuple[Tokenizer, nn.Embedding]) -> None:
    learner = learner_of(tokenizer, domains=3)
    prompts, _ = learner.prompts(torch.tensor([1, 4]), torch.tensor([2, 2]))
    prompts.sum().backward()
    assert learner.class_tokens.grad is not None and learner.domain_tokens.grad is not None
    assert learner.class_tokens.grad.abs().sum(dim=(1, 2)).nonzero().flatten().tolist() == [1, 4]
    assert learner.domain_tokens.grad.abs().sum(dim=(1, 2)).nonzero().flatten().tolist() == [2]
    assert tokenizer[1].weight.grad is None
    assert {name for name, _ in learner.named_parameters()} == {"class_tokens", "domain_tokens"}


def test_detached_classes_leave_the_gradient_to_the_domain(tokenizer: tuple[Tokenizer, nn.Embedding]) -> None:
    learner = learner_of(tokenizer)
    learner.prompts(torch.tensor([1]), torch.tensor([0]), detach_class=True)[0].sum().backward()
    assert learner.class_tokens.grad is None
    assert learner.domain_tokens.grad is not None and learner.domain_tokens.grad[0].abs().min() > 0


def test_tokens_are_drawn_small_and_one_seed_gives_one_draw(tokenizer: tuple[Tokenizer, nn.Embedding]) -> None:
    first, second = learner_of(tokenizer), learner_of(tokenizer)
    assert torch.equal(first.class_tokens, second.class_tokens)
    assert 0.01 < first.class_tokens.std() < 0.03 and first.class_tokens.shape == (5, 4, WIDTH)


def test_features_of_many_prompts_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reid_models.prompts.FEATURE_BATCH", 2)
    torch.manual_seed(0)
    encoder = PersonEncoder(person_cnn_architecture("person_cnn_tiny", (64, 32), CLOSED.size)).eval()
    learner = learner_of((partial(CLOSED.encode, context_length=48), encoder.token_embedding))
    together = prompt_features(encoder, learner, torch.arange(5))
    alone = [prompt_features(encoder, learner, torch.tensor([place])) for place in range(5)]
    assert not together.requires_grad and together.shape == (5, encoder.language_width)
    # The kernels of some processors add up a batch in another order than its members.
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-5


def test_a_vocabulary_that_does_not_know_x_still_serves_if_it_knows_the_rest() -> None:
    vocabulary = Vocabulary(("a", "of", "person", "photo"))
    template = read_template(CLASS_TEMPLATE, partial(vocabulary.encode, context_length=CONTEXT))
    assert template.class_positions == (5, 6, 7, 8)


def test_words_that_look_like_placeholders_to_the_tokenizer_are_refused() -> None:
    vocabulary = Vocabulary(("a", "of", "person"))
    tokenize = partial(vocabulary.encode, context_length=CONTEXT)
    with pytest.raises(ConfigurationError, match=r"finds 5 class .* which has 4 and 0; .* kept="):
        read_template(CLASS_TEMPLATE, tokenize)
    with pytest.raises(ConfigurationError, match="placeholder"):
        read_template("a X X X X person of D", tokenize)


@pytest.mark.parametrize(
    ("template", "domains", "text"),
    [
        ("A photo of a X X X person.", 0, "has 3 times X and 0 times D; expected 4"),
        (DOMAIN_TEMPLATE, 0, "expected 4 times X and no D"),
    ],
)
def test_a_template_with_other_placeholders_is_refused(template: str, domains: int, text: str) -> None:
    tokenize, _ = TOKENIZERS["closed"]
    with pytest.raises(ConfigurationError, match=text):
        PromptLearner(template, tokenize, nn.Embedding(CLOSED.size, WIDTH), 2, domains=domains)
    with pytest.raises(ConfigurationError, match="at least one D"):
        PromptLearner(
            CLASS_TEMPLATE, tokenize, nn.Embedding(CLOSED.size, WIDTH), 2, domains=1, domain_template=CLASS_TEMPLATE
        )


def test_domain_ids_for_a_learner_without_domains_are_refused(tokenizer: tuple[Tokenizer, nn.Embedding]) -> None:
    with pytest.raises(ValueError, match="has no domains"):
        learner_of(tokenizer, domains=0).prompts(torch.tensor([0]), torch.tensor([0]))

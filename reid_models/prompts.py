"""Sentences with learnable words: one set for each class (a person), one for each domain.

The placeholders of a template are found by their token, never by counting words: a prefix that is one word too long
would push `person` or the full stop out of every prompt without any error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from pipeline.errors import ConfigurationError
from reid_models.encoder import PersonEncoder

CLASS_WORD, DOMAIN_WORD = "X", "D"
CLASS_TEMPLATE = "A photo of a X X X X person."
DOMAIN_TEMPLATE = "A photo of a X X X X person from D dataset."
TOKEN_DEVIATION = 0.02
FEATURE_BATCH = 512

Tokenize = Callable[[Sequence[str]], Tensor]  # sentences → (N, context length) token ids


@dataclass(frozen=True, slots=True)
class Template:
    """A tokenised sentence up to its end mark, and where its placeholders stand."""

    token_ids: tuple[int, ...]
    class_positions: tuple[int, ...]
    domain_positions: tuple[int, ...]

    @property
    def end_position(self) -> int:
        return len(self.token_ids) - 1


def read_template(sentence: str, tokenize: Tokenize) -> Template:
    """Tokenise `sentence` and find the words X and D in it, for any tokenizer whose end mark has the highest number.

    Raises `ConfigurationError` if the tokenizer does not tell the placeholders from the other words, as a closed
    vocabulary that knows neither.
    """
    words = [word for word in sentence.replace(".", " ").split() if word in (CLASS_WORD, DOMAIN_WORD)]
    class_token, domain_token = (_only_token(word, tokenize) for word in (CLASS_WORD, DOMAIN_WORD))
    token_ids = _tokens(sentence, tokenize)
    class_positions = tuple(place for place, token in enumerate(token_ids) if token == class_token)
    domain_positions = tuple(place for place, token in enumerate(token_ids) if token == domain_token)
    if DOMAIN_WORD not in words and domain_token == class_token:
        domain_positions = ()
    found, expected = (len(class_positions), len(domain_positions)), (words.count(CLASS_WORD), words.count(DOMAIN_WORD))
    if found != expected:
        raise ConfigurationError(
            f"the tokenizer finds {found[0]} class and {found[1]} domain placeholders in {sentence!r}, which has "
            f"{expected[0]} and {expected[1]}; it must know every word of the template "
            "(learn_vocabulary(..., kept=[template]))"
        )
    return Template(token_ids, class_positions, domain_positions)


class PromptLearner(nn.Module):
    """The learnable tokens of `classes` classes and `domains` domains, and the prompts made with them.

    `class_tokens` is (classes, tokens_per_class, width), `domain_tokens` (domains, D's in the template, width), both
    drawn from N(0, 0.02) with `generator` (None: torch's own). The fixed words are copied from `token_embedding`, which
    therefore gets no gradient. `domain_template` is read only if there are domains.
    """

    def __init__(
        self, template: str, tokenizer: Tokenize, token_embedding: nn.Embedding, classes: int,
        tokens_per_class: int = 4, domains: int = 0, domain_template: str = DOMAIN_TEMPLATE,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.template = read_template(template, tokenizer)
        _require_slots(template, self.template, tokens_per_class, domain_slots=False)
        width = token_embedding.embedding_dim
        self.register_buffer("words", _embedded(self.template, token_embedding))
        self.class_tokens = nn.Parameter(_drawn((classes, tokens_per_class, width), generator))
        self.domain_template: Template | None = None
        if domains:
            self.domain_template = read_template(domain_template, tokenizer)
            _require_slots(domain_template, self.domain_template, tokens_per_class, domain_slots=True)
            self.register_buffer("domain_words", _embedded(self.domain_template, token_embedding))
            slots = len(self.domain_template.domain_positions)
            self.domain_tokens = nn.Parameter(_drawn((domains, slots, width), generator))

    @property
    def classes(self) -> int:
        return len(self.class_tokens)

    def prompts(
        self, class_ids: Tensor, domain_ids: Tensor | None = None, detach_class: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Embeddings (N, T, width) and end positions (N,) for `PersonEncoder.embed_prompts`; T ends with the end mark.

        With `domain_ids` (N,) the domain template is filled. `detach_class`: the class tokens get no gradient.
        """
        template, words = self.template, self.get_buffer("words")
        if domain_ids is not None:
            if self.domain_template is None:
                raise ValueError("domain_ids were given, but this learner has no domains; make it with domains=...")
            template, words = self.domain_template, self.get_buffer("domain_words")
        embeddings = words.repeat(len(class_ids), 1, 1)
        class_tokens = self.class_tokens[class_ids]
        embeddings[:, list(template.class_positions)] = class_tokens.detach() if detach_class else class_tokens
        if domain_ids is not None:
            embeddings[:, list(template.domain_positions)] = self.domain_tokens[domain_ids]
        return embeddings, torch.full((len(class_ids),), template.end_position, device=embeddings.device)


@torch.no_grad()
def prompt_features(
    encoder: PersonEncoder, learner: PromptLearner, class_ids: Tensor, domain_ids: Tensor | None = None
) -> Tensor:
    """The text features (N, L) of many prompts, without gradient, float32, not normalised."""
    features = []
    for start in range(0, len(class_ids), FEATURE_BATCH):
        part = slice(start, start + FEATURE_BATCH)
        domains = None if domain_ids is None else domain_ids[part]
        features.append(encoder.embed_prompts(*learner.prompts(class_ids[part], domains)).float())
    return torch.cat(features)


def _tokens(sentence: str, tokenize: Tokenize) -> tuple[int, ...]:
    """The tokens up to the end mark."""
    (row,) = tokenize([sentence])
    return tuple(row[: int(row.argmax()) + 1].tolist())


def _only_token(word: str, tokenize: Tokenize) -> int:
    _, *tokens, _ = _tokens(word, tokenize)
    if len(tokens) != 1:
        raise ConfigurationError(f"the tokenizer splits the placeholder {word!r} into {len(tokens)} tokens, expected 1")
    return tokens[0]


def _require_slots(sentence: str, template: Template, tokens_per_class: int, domain_slots: bool) -> None:
    found = (len(template.class_positions), len(template.domain_positions) > 0)
    if found != (tokens_per_class, domain_slots):
        raise ConfigurationError(
            f"the template {sentence!r} has {found[0]} times {CLASS_WORD} and {len(template.domain_positions)} times "
            f"{DOMAIN_WORD}; expected {tokens_per_class} times {CLASS_WORD} and "
            f"{'at least one' if domain_slots else 'no'} {DOMAIN_WORD}"
        )


def _embedded(template: Template, token_embedding: nn.Embedding) -> Tensor:
    """(T, width), a copy."""
    token_ids = torch.tensor(template.token_ids, device=token_embedding.weight.device)
    return token_embedding.weight.detach()[token_ids].float()


def _drawn(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    return torch.randn(shape, generator=generator) * TOKEN_DEVIATION

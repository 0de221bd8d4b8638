"""T5's decoder for many texts at once that need not be at the same place.

The model's own layers do the work, one token a row and step; only what lies between them is ours, because ``generate``

* keeps the encoded text once a sample: here its keys and values are computed and read once a text;
* ends a batch with its longest query: here each text has a slot that another text takes when its samples are done, so
  each row has an age of its own. T5 knows relative positions only, which makes that easy.

:mod:`include.queries.doc2query.parity` compares the two before queries are written.
"""

from __future__ import annotations

from typing import Any

import torch


class SlotDecoder:
    """A decoder with a number of slots, each for one text and its samples.

    Row ``slot * samples + sample`` is one sample. All tensors are on the model's device.

    :param model: a T5 or mT5, ready for inference.
    :param slots: texts at a time.
    :param samples: rows a text.
    :param source_length: tokens of the longest text.
    :param steps: tokens of the longest sample.
    """

    def __init__(self, model: Any, *, slots: int, samples: int, source_length: int, steps: int) -> None:
        config = model.config
        self._model = model
        self.slots, self.samples, self.steps = slots, samples, steps
        self._heads, self._size = config.num_heads, config.d_kv
        self._blocks = self._model.decoder.block
        # T5 v1.1 and mT5 have an output layer of their own; the first T5 scales what its embeddings are used for twice.
        self._scale = config.d_model**-0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0
        weights = self._model.decoder.embed_tokens.weight
        self._new = weights.new_zeros
        self._never = torch.finfo(weights.dtype).min
        source = (slots, self._heads, source_length, self._size)
        own = (slots * samples, self._heads, steps, self._size)
        self._source = [(self._new(source), self._new(source)) for _ in self._blocks]
        self._own = [(self._new(own), self._new(own)) for _ in self._blocks]
        self._source_mask = self._new((slots, 1, 1, source_length)).fill_(self._never)
        self._bias = _bias_by_distance(self._blocks[0].layer[0].SelfAttention, steps)
        self._places = torch.arange(steps, device=weights.device)

    def fill(self, slots: torch.Tensor, encoded: torch.Tensor, mask: torch.Tensor) -> None:
        """Give texts to slots. Their rows begin at age 0 with the model's start token.

        :param slots: (texts,).
        :param encoded: (texts, tokens, d_model), the encoder's output.
        :param mask: (texts, tokens), True where there is a token.
        """
        length = encoded.shape[1]
        for block, (keys, values) in zip(self._blocks, self._source, strict=True):
            attention = block.layer[1].EncDecAttention
            keys[slots, :, :length] = self._split(attention.k(encoded)).transpose(1, 2)
            values[slots, :, :length] = self._split(attention.v(encoded)).transpose(1, 2)
        self._source_mask[slots] = self._never
        self._source_mask[slots, 0, 0, :length] = torch.where(mask, 0.0, self._never).to(encoded.dtype)

    def step(
        self, tokens: torch.Tensor, ages: torch.Tensor, rows: torch.Tensor, *, span: int, source_length: int
    ) -> torch.Tensor:
        """The logits of the next token of some rows.

        :param tokens: (rows,), the last token of each.
        :param ages: (slots * samples,), the number of tokens before it, of every row.
        :param rows: (rows,), which rows they are, in rising order.
        :param span: more than any age.
        :param source_length: the longest text that is in a slot.
        :returns: (rows, vocabulary).
        """
        every = len(rows) == len(ages)
        row_ages = ages if every else ages[rows]
        bias = self._own_bias(ages, span)
        source_mask = self._source_mask[..., :source_length]
        hidden = self._model.decoder.embed_tokens(tokens)
        for block, own, source in zip(self._blocks, self._own, self._source, strict=True):
            layer, attention = block.layer[0], block.layer[0].SelfAttention
            normed = layer.layer_norm(hidden)
            for cache, project in zip(own, (attention.k, attention.v), strict=True):
                cache[rows, :, row_ages] = self._split(project(normed))
            query = self._spread(attention.q(normed), None if every else rows).unsqueeze(2)
            found = _attend(query, own, span, bias).squeeze(2).flatten(1)
            hidden = hidden + attention.o(found if every else found[rows])

            layer, attention = block.layer[1], block.layer[1].EncDecAttention
            query = self._spread(attention.q(layer.layer_norm(hidden)), None if every else rows)
            query = query.view(self.slots, self.samples, self._heads, self._size).transpose(1, 2)
            found = _attend(query, source, source_length, source_mask).transpose(1, 2).reshape(len(ages), -1)
            hidden = hidden + attention.o(found if every else found[rows])

            hidden = block.layer[2](hidden)
        logits: torch.Tensor = self._model.lm_head(self._model.decoder.final_layer_norm(hidden) * self._scale)
        return logits

    def _split(self, projected: torch.Tensor) -> torch.Tensor:
        return projected.view(*projected.shape[:-1], self._heads, self._size)

    def _spread(self, projected: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """Heads of each row of all slots; those that are not asked for are 0."""
        if rows is None:
            return self._split(projected)
        spread: torch.Tensor = self._new((self.slots * self.samples, self._heads, self._size))
        spread[rows] = self._split(projected)
        return spread

    def _own_bias(self, ages: torch.Tensor, span: int) -> torch.Tensor:
        """What is added to a row's attention to its own tokens: by their distance, and never to what lies ahead."""
        distances = ages[:, None] - self._places[:span]
        bias = self._bias[:, distances.clamp(min=0)].masked_fill(distances < 0, self._never)
        return bias.transpose(0, 1).unsqueeze(2)


def _attend(
    query: torch.Tensor, cache: tuple[torch.Tensor, torch.Tensor], length: int, mask: torch.Tensor
) -> torch.Tensor:
    """T5 does not scale the products, for its weights were drawn so that they need not be.

    Step by step, as transformers does it: PyTorch's attention in one kernel is made for many queries at a time, and
    takes up to twice as long for one or three.
    """
    keys, values = cache
    weights = torch.softmax(query @ keys[:, :, :length].mT + mask, dim=-1)
    return weights @ values[:, :, :length]


def _bias_by_distance(attention: Any, steps: int) -> torch.Tensor:
    """(heads, steps): T5's bias by how many tokens ago one was, as the last of ``steps`` tokens sees the others."""
    device = attention.relative_attention_bias.weight.device
    bias: torch.Tensor = attention.compute_bias(1, steps, device=device, past_seen_tokens=steps - 1)
    return bias[0, :, 0].flip(-1).contiguous()

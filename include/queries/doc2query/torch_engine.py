"""Sampling with PyTorch: texts take their turns in the decoder's slots until each has its samples."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from include.devices.halving import HalvingBatch
from include.queries.doc2query.decoder import SlotDecoder
from include.queries.doc2query.engine import TokenizedText, by_length
from include.queries.doc2query.recorded import Recorded
from include.queries.doc2query.sampling import Sampling, draw, uniforms

USUAL_SAMPLES = 3
"""Batch sizes are meant for so many samples a text; where more are wanted, fewer texts are taken at a time."""
STRIDES = {"cpu": 1, "cuda": 8}
"""Steps between two looks at what is finished. A CPU gains from every row that it need not compute; a GPU waits for the
host at each look, and is quicker if it goes on with some rows for nothing."""
SOURCE_LENGTHS = 32
"""A GPU records its steps, each for texts of so many tokens more at most."""
REFILL_SHARE = 8
"""Where looks are seldom, texts are encoded together once a slot in so many is empty."""


class TorchEngine:
    """A T5 in PyTorch, in bfloat16 on a GPU that has it, and 32-bit floats otherwise.

    A sample depends on its text and its random stream alone, up to rounding: what else is in a batch can change the
    last digits of a logit, and so, about once in a million tokens in 32 bits, which token is drawn. Texts are taken in
    an order that does not depend on how they came, so that a repeated call gives the same in every digit.

    :param model: a T5 or mT5, ready for inference; it is moved to the device.
    :param batch_size: texts at a time, if three samples a text are wanted.
    :param steps: tokens of the longest sample.
    :param stride: steps between two looks at what is finished; 0 for what suits the device.
    """

    name = "torch"

    def __init__(
        self,
        model: Any,
        *,
        sampling: Sampling,
        steps: int,
        device: str,
        batch_size: int,
        stride: int = 0,
    ) -> None:
        self.device = torch.device(device)
        # Half precision is no way out on an older GPU: T5 v1.1 overflows in it.
        half_precision = self.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        self.model = model.to(device=self.device, dtype=torch.bfloat16 if half_precision else torch.float32)
        self.start = int(model.config.decoder_start_token_id or 0)
        self.end = int(model.config.eos_token_id)
        self._pad = int(model.config.pad_token_id or 0)
        self.sampling = sampling
        self.steps = steps
        self.stride = stride or STRIDES[self.device.type]
        self._rows = HalvingBatch(batch_size * USUAL_SAMPLES)

    def sample(
        self, sources: Sequence[TokenizedText], n: int, seed: int, done: Callable[[int], None]
    ) -> list[list[list[int]]]:
        """See :class:`include.queries.doc2query.engine.Engine`."""
        found: dict[int, list[list[int]]] = {}
        order = by_length(sources)

        def go_on(rows: int) -> None:
            waiting = [at for at in order if at not in found]
            if waiting:
                slots = min(max(1, rows // n), len(waiting))
                _Run(self, sources, n, seed, slots=slots).go(waiting, found, done)

        with torch.inference_mode():
            self._rows.run(go_on, minimum=n)
        return [found[at] for at in range(len(sources))]

    def score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]:
        """See :class:`include.queries.doc2query.engine.Engine`; by the decoder that samples."""
        with torch.inference_mode():
            return [self._score(text, [*query, self.end]) for text, query in pairs]

    def _score(self, text: Sequence[int], query: Sequence[int]) -> list[float]:
        decoder = SlotDecoder(self.model, slots=1, samples=1, source_length=len(text), steps=len(query))
        row = torch.zeros(1, dtype=torch.long, device=self.device)
        decoder.fill(row, *self.encode([text]))
        scores = []
        for age, (last, token) in enumerate(zip([self.start, *query], query, strict=False)):
            logits = decoder.step(row + last, row + age, row, span=age + 1, source_length=len(text))
            scores.append(float(torch.log_softmax(logits.float(), -1)[0, token]))
        return scores

    def likeliest(self, texts: Sequence[Sequence[int]], steps: int) -> list[list[int]]:
        """See :class:`include.queries.doc2query.engine.Engine`."""
        greedy = TorchEngine(
            self.model,
            sampling=Sampling(top_k=1),
            steps=steps,
            device=self.device.type,
            batch_size=max(1, self._rows.size // USUAL_SAMPLES),
        )
        sources = [TokenizedText(str(number), tuple(text)) for number, text in enumerate(texts)]
        return [samples[0] for samples in greedy.sample(sources, 1, 0, lambda _: None)]

    def encode(self, texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """The encoder's output, and where there are tokens: (texts, tokens, d_model) and (texts, tokens)."""
        tokens = np.full((len(texts), max(map(len, texts))), self._pad)
        for row, text in zip(tokens, texts, strict=True):
            row[: len(text)] = text
        lengths = torch.tensor([len(text) for text in texts])
        mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).to(self.device)
        batch = torch.from_numpy(tokens).to(self.device)
        return self.model.encoder(input_ids=batch, attention_mask=mask).last_hidden_state, mask


class _Run:
    """One pass over the texts that wait, with a number of slots."""

    def __init__(self, engine: TorchEngine, sources: Sequence[TokenizedText], n: int, seed: int, *, slots: int) -> None:
        self._engine, self._sources, self._n, self._seed = engine, sources, n, seed
        device = engine.device
        self._stride = engine.stride
        self._refill = 1 if self._stride == 1 else max(1, slots // REFILL_SHARE)
        # What is finished between two looks goes on; it must not write over its last token.
        self._length = engine.steps + self._stride
        longest = max(len(source.tokens) for source in sources)
        longest = -(-longest // SOURCE_LENGTHS) * SOURCE_LENGTHS
        self._decoder = SlotDecoder(engine.model, slots=slots, samples=n, source_length=longest, steps=self._length)
        rows = slots * n
        self._texts: list[int | None] = [None] * slots
        self._started = np.zeros(rows, dtype=np.int64)
        self._live = np.zeros(rows, dtype=bool)
        self._step = 0
        self._ages = torch.zeros(rows, dtype=torch.long, device=device)
        self._every = torch.arange(rows, device=device)
        self._last = torch.full((rows,), engine.start, dtype=torch.long, device=device)
        self._chances = torch.zeros((rows, self._length), device=device)
        self._drawn = torch.full((rows, self._length), engine.end, dtype=torch.long, device=device)
        self._recorded: Recorded | None = None
        if device.type == "cuda":
            self._recorded = Recorded(
                lambda length: self._take_step(self._every, span=self._length, source_length=length)
            )

    def go(self, waiting: Sequence[int], found: dict[int, list[list[int]]], done: Callable[[int], None]) -> None:
        queue = deque(waiting)
        while queue or self._live.any():
            empty = [slot for slot, text in enumerate(self._texts) if text is None]
            if queue and (len(empty) >= min(self._refill, len(queue)) or not self._live.any()):
                self._take([queue.popleft() for _ in empty[: len(queue)]], empty)
            self._advance()
            for slot in self._finished():
                text = self._texts[slot]
                assert text is not None
                found[text] = self._collect(slot)
                self._texts[slot] = None
                done(1)

    def _take(self, texts: Sequence[int], empty: Sequence[int]) -> None:
        """Encode texts, and put them into slots."""
        engine = self._engine
        slots = list(empty[: len(texts)])
        sources = [self._sources[text] for text in texts]
        encoded, mask = engine.encode([source.tokens for source in sources])
        self._decoder.fill(torch.tensor(slots, device=engine.device), encoded, mask)
        rows = np.concatenate([np.arange(slot * self._n, (slot + 1) * self._n) for slot in slots])
        chances = [
            uniforms(self._seed, source.episode_id, sample, engine.steps)
            for source in sources
            for sample in range(self._n)
        ]
        at = torch.from_numpy(rows).to(engine.device)
        self._chances[at, : engine.steps] = torch.from_numpy(np.stack(chances)).to(engine.device)
        self._ages[at] = 0
        self._last[at] = engine.start
        self._drawn[at] = engine.end
        self._started[rows] = self._step
        self._live[rows] = True
        for slot, text in zip(slots, texts, strict=True):
            self._texts[slot] = text

    def _advance(self) -> None:
        """Some steps of every row that is not finished; a GPU computes the others, too."""
        live = np.flatnonzero(self._live)
        source_length = max(len(self._sources[text].tokens) for text in self._texts if text is not None)
        if self._recorded is not None:
            for _ in range(self._stride):
                self._recorded.run(-(-source_length // SOURCE_LENGTHS) * SOURCE_LENGTHS)
        else:
            rows = torch.from_numpy(live).to(self._every.device)
            oldest = self._step - int(self._started[live].min())
            for more in range(1, self._stride + 1):
                self._take_step(rows, span=oldest + more, source_length=source_length)
        self._step += self._stride

    def _take_step(self, rows: torch.Tensor, *, span: int, source_length: int) -> None:
        """The next token of some rows. Nothing here waits for the device."""
        ages = self._ages[rows]
        logits = self._decoder.step(self._last[rows], self._ages, rows, span=span, source_length=source_length)
        tokens = draw(logits, self._chances[rows, ages], self._engine.sampling)
        self._drawn[rows, ages] = tokens
        self._last[rows] = tokens
        # A row that nobody looks at any more stays at its last place.
        self._ages[rows] = (ages + 1).clamp(max=self._length - 1)

    def _finished(self) -> list[int]:
        """Slots all of whose rows are finished; these rows rest from now on."""
        live = np.flatnonzero(self._live)
        ages = self._step - self._started[live]
        recent = self._drawn[torch.from_numpy(live).to(self._drawn.device)].cpu().numpy()
        ended = (recent == self._engine.end) & (np.arange(self._length) < ages[:, None])
        over = ended.any(-1) | (ages >= self._engine.steps)
        self._live[live[over]] = False
        slots = {int(row) // self._n for row in live[over]}
        return sorted(slot for slot in slots if not self._live[slot * self._n : (slot + 1) * self._n].any())

    def _collect(self, slot: int) -> list[list[int]]:
        rows = self._drawn[slot * self._n : (slot + 1) * self._n, : self._engine.steps].tolist()
        return [row[: row.index(self._engine.end)] if self._engine.end in row else row for row in rows]

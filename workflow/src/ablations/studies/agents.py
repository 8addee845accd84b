"""What agents compute: phases of a real transformer over its KV cache, and what native PyTorch makes of them.

A compute phase is a prompt's prefill (in the first phase) and some tokens, one step each. Everything that is random is
drawn from the trial's seed.
"""

from __future__ import annotations

import torch

from ablations.models import DecoderModel, KVCache, make_cache, make_model
from ablations.settings import SemanticSignals
from ablations.studies.on_device import DEVICE, make_remote_model, require_equal
from ablations.traces import NUM_PROMPTS


class Workload:
    """The model on the device, the prompts, and what native PyTorch computes for every phase of every prompt."""

    def __init__(self, study: SemanticSignals, seed: int, device: str) -> None:
        self.study = study
        self._device = device
        self._remote = make_remote_model(study.model, seed=seed, device=device)
        generator = torch.Generator().manual_seed(seed)
        size = (NUM_PROMPTS, 1, study.model.context)
        tokens = torch.randint(study.model.vocabulary, size, generator=generator)
        self._steps = [_slices(study, prompt) for prompt in tokens]
        self._remote_steps = [[(t.to(DEVICE), p.to(DEVICE)) for t, p in steps] for steps in self._steps]
        self._expected = self._compute_natively(make_model(study.model, seed=seed, device=device))
        if device == "cuda":
            torch.cuda.empty_cache()  # what native PyTorch computed with is the server's to use now

    @property
    def num_phases(self) -> int:
        """Phases for which the context has room."""
        return len(self._phase_ends())

    def open_cache(self) -> KVCache:
        """Return an empty cache in the current session's arena."""
        return make_cache(self.study.model, device=DEVICE)

    def steps(self, prompt: int, phase: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the tokens and positions of each step of a phase, on the device: the prompt first, then token by token."""
        first, last = self._bounds(phase)
        return self._remote_steps[prompt][first:last]

    def compute(self, step: tuple[torch.Tensor, torch.Tensor], cache: KVCache) -> torch.Tensor:
        """Run one step and return its logits in host memory."""
        logits: torch.Tensor = self._remote(*step, cache).cpu()
        return logits

    def check_phase(self, prompt: int, phase: int, logits: torch.Tensor) -> None:
        """Compare with native PyTorch; equal logits prove that every byte of the cache survived its swaps.

        Raises:
            MeasurementError: they differ.
        """
        require_equal(logits, self._expected[prompt][phase], f"phase {phase} of prompt {prompt}")

    def _phase_ends(self) -> list[int]:
        study = self.study
        room = (study.model.context - study.prompt_tokens) // study.decode_tokens
        return [1 + (number + 1) * study.decode_tokens for number in range(room)]

    def _bounds(self, phase: int) -> tuple[int, int]:
        ends = self._phase_ends()
        return (ends[phase - 1] if phase else 0), ends[phase]

    def _compute_natively(self, model: DecoderModel) -> list[list[torch.Tensor]]:
        expected = []
        for steps in self._steps:
            cache = make_cache(self.study.model, device=self._device)
            logits = [model(t.to(self._device), p.to(self._device), cache).cpu() for t, p in steps]
            expected.append([logits[end - 1] for end in self._phase_ends()])
        return expected


def _slices(study: SemanticSignals, prompt: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Cut a prompt (1, context) into the prefill and single tokens, each with its positions."""
    positions = torch.arange(study.model.context)
    steps = [(prompt[:, : study.prompt_tokens].contiguous(), positions[: study.prompt_tokens].clone())]
    for number in range(study.prompt_tokens, study.model.context):
        steps.append((prompt[:, number : number + 1].contiguous(), positions[number : number + 1].clone()))
    return steps

"""Progress display of ``bitmill train`` for any model. Imports neither media decoders nor Ray."""

import time
from typing import Any

from bitmill.jobs.console import Console
from bitmill.jobs.progress.live_line import LiveLine, LiveView
from bitmill.jobs.progress.units import duration_text
from bitmill.pipeline.training.step_progress import TrainProgress


def flat_fields(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a nested document's values by dotted name, as errors name them."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, dict):
            flat |= flat_fields(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


class TrainingView(LiveView):
    """Context manager: a live line on a terminal, else one log line per row of measurements."""

    def __init__(self, console: Console) -> None:
        self._started: tuple[int, float] | None = None
        self._values: dict[str, float] = {}
        self._is_log = not console.is_terminal
        super().__init__(LiveLine(console, transient=False, log_every_s=0.0))

    def show(self, progress: TrainProgress) -> None:
        """Show one step's report."""
        now = time.monotonic()
        if self._started is None:
            # The first steps warm up caches and compilers, so the rate is measured from here.
            self._started = (progress.steps_done, now)
        if progress.values is not None:
            self._values = progress.values
        if self._is_log and progress.values is None:
            return
        since, started = self._started
        steps = progress.steps_done - since
        seconds = (progress.steps - progress.steps_done) * (now - started) / steps if steps else None
        left = duration_text(seconds) if seconds is not None else "?"
        text = f"step {progress.steps_done}/{progress.steps} · {_measured(self._values)} · {left} left"
        self._shown.show(lambda: text)


_SHOWN = {
    "loss": "loss {:.4f}",
    "psnr_db": "PSNR {:.2f} dB",
    "weakest_bit": "weakest bit {:.3f}",
    "validation_psnr_db": "held out {:.2f} dB",
    "validation_lpips": "LPIPS {:.4f}",
    "clips_per_s": "{:.1f} clips/s",
    "bits_per_token": "{:.3f} bits/token",
    "held_out_bits_per_token": "held out {:.3f} bits/token",
    "steps_per_s": "{:.2f} steps/s",
}


def _measured(values: dict[str, float]) -> str:
    return " · ".join(text.format(values[name]) for name, text in _SHOWN.items() if name in values) or "…"

"""Formats durations, sizes and rates for people."""


def duration_text(seconds: float) -> str:
    """Returns a duration as text: 12 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def bytes_text(size: int) -> str:
    """Returns a size in binary units."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def rate_text(rate: float) -> str:
    """Returns a rate with about three digits: 0.03, 0.5, 120, 31.2k."""
    if 0 < rate < 0.1:
        return f"{rate:.2f}"
    for unit in ("", "k", "M"):
        if rate < 1000 or unit == "M":
            return f"{rate:.1f}{unit}" if rate < 10 or unit else f"{rate:.0f}"
        rate /= 1000
    raise AssertionError

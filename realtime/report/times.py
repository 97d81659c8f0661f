"""Times and shares as people read them."""


def clock(seconds: float) -> str:
    """`m:ss.s`, with hours before it from an hour on."""
    tenths = round(seconds * 10)
    sign, tenths = ("-", -tenths) if tenths < 0 else ("", tenths)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else str(minutes)
    return f"{sign}{head}:{rest // 10:02d}.{rest % 10}"


def percent(share: float) -> str:
    """With one digit after the point."""
    return f"{100 * share:.1f}%"


def size_on_disk(count: int) -> str:
    """In MB or kB of a thousand."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"

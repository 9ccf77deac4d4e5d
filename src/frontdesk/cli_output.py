"""How a reply looks in a terminal."""

from __future__ import annotations

from rich.console import Console

from frontdesk.domain.events import ReplySent


def show_reply(reply: ReplySent, console: Console) -> None:
    """Prints a reply with its route and sources."""
    console.print(reply.text, highlight=False, markup=False, soft_wrap=True)
    for citation in reply.citations:
        quote = " ".join(citation.quote.split())
        shown = f"{quote[:160]}{'…' if len(quote) > 160 else ''}"
        console.print(f"  [{citation.source}] {citation.title}: “{shown}”", style="dim", markup=False, highlight=False)
    console.print(f"  route {reply.route.value}, confidence {reply.confidence:.2f}", style="dim", highlight=False)

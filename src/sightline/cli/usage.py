"""Wrong usage in two lines, the nearest option or command suggested."""

from __future__ import annotations

from typing import Any

from typer import TyperException

from sightline.errors import nearest


def explained(mistake: TyperException) -> tuple[str, str]:
    """What was given and what was expected; then the usual fix."""
    context = getattr(mistake, "ctx", None)
    command = context.command_path if context else "sightline"
    help_page = f"`{command} --help`"
    if context and hasattr(mistake, "possibilities"):
        option = getattr(mistake, "option_name", "")
        return f"option {option} was given; {command} does not have it.", nearest(option, _options(context), help_page)
    given, meant, names = mistake.format_message().partition("Did you mean ")
    return f"{given.strip().rstrip('.')}.", f"{meant}{names}" or f"See {help_page}."


def _options(context: Any) -> list[str]:
    return [name for parameter in context.command.get_params(context) for name in parameter.opts if name[:1] == "-"]

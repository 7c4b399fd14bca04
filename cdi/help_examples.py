"""Help that ends with examples, printed line by line as they are written. Free of torch."""

import textwrap

from jsonargparse import ArgumentParser, DefaultHelpFormatter


class LineByLine(DefaultHelpFormatter):
    """Keeps the lines of a description and of examples, and wraps only those that are too long for prose."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = text.splitlines() or [""]
        if len(lines) == 1:
            return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)
        return "\n".join(indent + line for line in lines)


def add_examples(parser: ArgumentParser, examples: str) -> None:
    """End the help of ``parser`` with ``examples``, one a line."""
    parser.epilog = "examples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines())

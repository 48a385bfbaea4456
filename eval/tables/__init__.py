"""Tables for people, in a terminal, Markdown or HTML."""

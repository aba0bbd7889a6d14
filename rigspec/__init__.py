"""rigspec: a declarative provisioner for LLM rigs."""

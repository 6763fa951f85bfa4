"""Search the design space of noisy adversarial image obfuscators."""

__version__ = "0.3.0.dev0"

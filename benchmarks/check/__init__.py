"""What `rigspec check` costs: see `__main__.py`."""

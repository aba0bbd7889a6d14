"""`python -m tests.mutation` prints the table."""

from .table import table

for line in table():
    print(line)

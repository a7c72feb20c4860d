"""How the test run checks the annotations of every function (tests/conftest.py)."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # a whole number is a float, as PEP 484 has it

"""From a study's files to one row per patient and visit: nothing is guessed, and nothing is dropped without a count."""

from implstats.reading.dates import visits_from_dates
from implstats.reading.files import read_data
from implstats.reading.spells import spells_from_dates
from implstats.reading.split import split_spells
from implstats.reading.wide import visits_from_wide

__all__ = ["read_data", "spells_from_dates", "split_spells", "visits_from_dates", "visits_from_wide"]

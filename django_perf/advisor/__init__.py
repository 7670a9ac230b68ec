"""Say what to do, with the figures that say so."""

"""How dates are written in pages: alike everywhere, sortable, to the second; the zone is UTC, as in the API."""

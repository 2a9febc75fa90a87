"""Tables of other programs, as text and from Excel."""

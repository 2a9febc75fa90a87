"""Tables of tags as people, spreadsheets and other tools save them.

`tag_table` reads one: `formats.tables` has its lines and cells, `headers` what each column holds,
`tags` the tags of a cell.
"""

"""The review page: look at the masks of a run, decide, correct; and which photos to look at first.

`folder` reads a run or a folder of predictions, `pictures` makes what the page shows, `service`
takes decisions, `server` answers a browser on this machine, `order` and `ask` choose photos. The
page itself is in ``assets/``.
"""

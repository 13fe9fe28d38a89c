"""`adaspring watch`: a page on loopback that shows a net adapt."""

"""`adaspring demo`: real data, a network, four boards, a day in an app."""

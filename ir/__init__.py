"""The network between the frontend and the boards: its model, its graph, and edits of it."""
